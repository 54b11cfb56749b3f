use super::*;
use crate::s3_versions::Change;

/// By the documented format, with what the program itself writes around it.
const FIRST: &str = r#"{
  "version": 4, "terraform_version": "1.11.4", "serial": 7, "lineage": "5f0c0d1e-0000-4a4a-8b8b-0123456789ab",
  "outputs": {
    "gone": {"value": "planted-output-1", "type": "string"},
    "password": {"value": "planted-output-2", "type": "string", "sensitive": true},
    "same": {"value": 1, "type": "number"}
  },
  "resources": [
    {"mode": "managed", "type": "aws_db_instance", "name": "db", "provider": "provider[\"registry/aws\"]", "instances": [
      {"schema_version": 2, "attributes": {"id": "db-1", "password": "planted-attribute-1", "tags": {"a": "planted-tag"}},
       "sensitive_attributes": [[{"type": "get_attr", "value": "password"}]], "private": "planted-private", "dependencies": ["x"]}]},
    {"module": "module.net[\"eu\"]", "mode": "managed", "type": "aws_subnet", "name": "s", "provider": "p", "each": "list",
     "instances": [{"index_key": 0, "attributes": {"id": 1}}, {"index_key": "b \"q\"", "attributes": {"id": 2}}]},
    {"mode": "data", "type": "aws_ami", "name": "a", "provider": "p", "instances": [{"attributes": {"id": 1}}]},
    {"mode": "managed", "type": "old", "name": "flat", "provider": "p", "instances": [
      {"attributes_flat": {"id": "1"}}, {"deposed": "ab12cd34", "attributes_flat": {"id": "0"}}]}
  ],
  "check_results": null, "a_field_of_the_future": {"serial": 99}
}"#;

fn second() -> String {
    FIRST
        .replace("\"serial\": 7", "\"serial\": 9")
        .replace("planted-attribute-1", "planted-attribute-2")
        .replace("planted-tag", "planted-tag-2")
        .replace("planted-private", "planted-private-2")
        .replace("\"gone\"", "\"new\"")
        .replace("planted-output-2", "planted-output-3")
        .replace("\"name\": \"a\"", "\"name\": \"b\"")
}

#[test]
fn a_state_is_read_with_all_its_addresses() {
    let state = State::parse(FIRST.as_bytes()).unwrap();
    assert_eq!((state.serial(), state.lineage()), (7, "5f0c0d1e-0000-4a4a-8b8b-0123456789ab"));
    assert_eq!(state.head().terraform_version.as_deref(), Some("1.11.4"));
    let addresses: Vec<&str> = state.addresses().collect();
    let expected = [
        "aws_db_instance.db",
        "data.aws_ami.a",
        "module.net[\"eu\"].aws_subnet.s[\"b \\\"q\\\"\"]",
        "module.net[\"eu\"].aws_subnet.s[0]",
        "old.flat",
        "old.flat (deposed ab12cd34)",
    ];
    assert_eq!(addresses, expected);
    assert_eq!(state.outputs().collect::<Vec<_>>(), ["gone", "password", "same"]);
    assert!(!state.is_empty());
    let empty = br#"{"version": 4, "serial": 1, "lineage": "x", "outputs": {}, "resources": []}"#;
    assert!(State::parse(empty).unwrap().is_empty());
}

#[test]
fn what_differs_is_told_by_names() {
    let (a, b) = (State::parse(FIRST.as_bytes()).unwrap(), State::parse(second().as_bytes()).unwrap());
    let diff = a.diff(&b);
    assert_eq!((diff.serial, diff.same_lineage), ((7, 9), true));
    assert_eq!(
        (&diff.added[..], &diff.removed[..]),
        (&["data.aws_ami.b".to_owned()][..], &["data.aws_ami.a".to_owned()][..])
    );
    let [change] = &diff.changed[..] else { panic!("{diff:?}") };
    assert_eq!(change.address, "aws_db_instance.db");
    let attributes: Vec<(&str, bool)> = change.attributes.iter().map(|a| (a.name.as_str(), a.sensitive)).collect();
    assert_eq!(
        (attributes, &change.fields[..]),
        (vec![("password", true), ("tags", false)], &["private".to_owned()][..])
    );
    let outputs: Vec<_> = diff.outputs.iter().map(|o| (o.name.as_str(), o.change, o.sensitive)).collect();
    assert_eq!(
        outputs,
        [("gone", Change::Removed, false), ("new", Change::Added, false), ("password", Change::Changed, true)]
    );
    let shown = "serial 7 -> 9\n  + data.aws_ami.b\n  - data.aws_ami.a\n  ~ aws_db_instance.db: password (sensitive), tags, private\n  \
                 - output gone\n  + output new\n  ~ output password (sensitive)";
    assert_eq!(diff.to_string(), shown);
    assert!(a.diff(&a).is_empty() && !diff.is_empty());
    let raised = State::parse(FIRST.replace("\"serial\": 7", "\"serial\": 8").as_bytes()).unwrap();
    assert!(a.diff(&raised).is_same_content() && !a.diff(&raised).is_empty());
    let tainted =
        FIRST.replace("\"private\": \"planted-private\"", "\"private\": \"planted-private\", \"status\": \"tainted\"");
    let tainted = a.diff(&State::parse(tainted.as_bytes()).unwrap());
    assert_eq!(tainted.changed[0].fields, ["status"]);
}

#[test]
fn no_value_shows_anywhere() {
    let (a, b) = (State::parse(FIRST.as_bytes()).unwrap(), State::parse(second().as_bytes()).unwrap());
    let diff = a.diff(&b);
    let mut shown = format!("{a:?} {a:#?} {diff:?} {diff} {}", serde_json::to_string(&diff).unwrap());
    // Values at places of another type, which a parser likes to quote.
    for (from, to) in [
        ("\"serial\": 7", "\"serial\": \"planted-serial\""),
        ("\"outputs\": {", "\"outputs\": \"planted-outputs\", \"x\": {"),
        ("\"sensitive\": true", "\"sensitive\": \"planted-flag\""),
        ("\"name\": \"db\"", "\"planted-name\": \"db\""),
        ("\"version\": 4", "\"version\": \"planted-version\""),
        ("\"check_results\": null", "\"check_results\": planted"),
    ] {
        let error = State::parse(FIRST.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        shown.push_str(&format!("{error} {error:?} {}", error.with_causes()));
    }
    assert!(!shown.contains("planted"), "{shown}");
}

#[test]
fn what_is_no_state_of_this_format_is_refused() {
    let deep = format!("{{\"version\": 4, \"serial\": 1, \"x\": {}", "[".repeat(100_000));
    for (text, kind) in [
        ("", ErrorKind::Corrupt),
        ("null", ErrorKind::Corrupt),
        ("<html>", ErrorKind::Corrupt),
        ("{\"version\": 4}", ErrorKind::Corrupt),
        ("{\"version\": 4, \"serial\": -1}", ErrorKind::Corrupt),
        ("{\"version\": 4, \"serial\": 1, \"serial\": 2}", ErrorKind::Corrupt),
        ("{\"version\": 4, \"serial\": 1} x", ErrorKind::Corrupt),
        (&FIRST[..FIRST.len() - 2], ErrorKind::Corrupt),
        (&deep, ErrorKind::Corrupt),
        ("{\"version\": 3, \"serial\": 1, \"modules\": []}", ErrorKind::Unsupported),
        ("{\"version\": 5, \"serial\": 1}", ErrorKind::Unsupported),
        ("{\"serial\": 3, \"lineage\": \"x\", \"meta\": {}, \"encrypted_data\": \"eA==\"}", ErrorKind::Unsupported),
    ] {
        let error = State::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), kind, "{} {error}", &text[..text.len().min(50)]);
    }
}

#[test]
fn a_serial_is_raised_and_nothing_else() {
    let raised = with_serial(FIRST.as_bytes(), 1234).unwrap();
    assert_eq!(String::from_utf8(raised).unwrap(), FIRST.replace("\"serial\": 7", "\"serial\": 1234"));
    assert!(with_serial(b"{\"version\": 4}", 1).is_err());
}
