//! Rules of the house that a machine can check.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay::vault::{Purpose, Right, Role};

const LONGEST_FILE: usize = 500;
const LONGEST_FACADE: usize = 150;
const MOST_CRATES: usize = 90;

#[test]
fn no_file_is_longer_than_one_idea() {
    let long: Vec<String> = rust_files()
        .iter()
        .map(|file| (file, read(file).lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "split these: {long:#?}");
}

#[test]
fn the_facade_only_names() {
    let lines = read(&root().join("src/lib.rs")).lines().count();
    assert!(
        lines <= LONGEST_FACADE,
        "src/lib.rs has {lines} lines: it names what other crates hold, and holds nothing"
    );
}

#[test]
fn no_test_is_ignored() {
    // Put together here so that this file does not name itself.
    let attribute = concat!("#[", "ignore");
    let ignored: Vec<PathBuf> = rust_files().into_iter().filter(|file| read(file).contains(attribute)).collect();
    assert!(ignored.is_empty(), "a test runs or does not exist: {ignored:#?}");
}

#[test]
fn every_example_is_in_the_readme() {
    let readme = read(&root().join("README.md"));
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(readme.contains(&format!("[`{name}`]")), "README.md does not name the example {name}");
    }
}

#[test]
fn the_tests_that_the_pages_name_exist() {
    for (page, least) in [("ARCHITECTURE.md", 20), ("SECURITY.md", 9)] {
        let text = read(&root().join(page));
        let named: Vec<(&str, &str)> = text.split('`').filter_map(|word| word.split_once("::")).collect();
        let in_tests = named.iter().filter(|(file, _)| root().join(format!("tests/{file}.rs")).exists());
        let in_tests: Vec<_> = in_tests.filter(|(file, _)| *file != "directory").collect();
        assert!(in_tests.len() > least, "{page}: {named:?}");
        for (file, test) in in_tests {
            let content = read(&root().join(format!("tests/{file}.rs")));
            assert!(content.contains(&format!("fn {test}(")), "{page}: there is no test {file}::{test}");
        }
    }
}

#[test]
fn each_row_of_what_a_thief_can_do_names_its_test() {
    let text = read(&root().join("SECURITY.md"));
    let (_, table) = text.split_once("| proved by |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let proof = row.trim_end_matches('|').rsplit('|').next().unwrap();
        assert!(proof.contains("::"), "no test proves: {row}");
    }
}

#[test]
fn the_roles_that_the_security_page_tells_are_those_of_the_code() {
    let page = read(&root().join("SECURITY.md"));
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    for role in Role::ALL {
        let mut rights: Vec<(Right, String)> = Vec::new();
        for grant in role.grants() {
            match rights.last_mut() {
                Some((right, text)) if *right == grant.right => text.push_str(&format!(" {}", grant.under)),
                _ => rights.push((grant.right, grant.to_string())),
            }
        }
        let rights = rights.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ");
        let short = |purpose: Purpose| purpose.namespace().split('-').nth(1).unwrap();
        let signs = role.purposes().into_iter().map(short).collect::<Vec<_>>().join(" ");
        let row = format!("| {role} | {rights} | {signs} | {} | {} |", yes(role.seals()), yes(role.opens()));
        assert!(page.contains(&row.replace("|  |", "| |")), "SECURITY.md lacks the row\n{row}");
    }
}

#[test]
fn the_facade_stays_light() {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--offline", "--package", "backstay", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    assert!(crates.iter().any(|name| name.starts_with("backstay-core ")), "{crates:#?}");
    assert!(!crates.iter().any(|name| name.starts_with("age ")), "the age crate is for tests: it brings 136 crates");
    assert!(crates.len() <= MOST_CRATES, "{} crates: {crates:#?}", crates.len());
}

/// Every Rust file of the project, tests and tools included.
fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests", "examples", "benches", "xtask"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.iter().any(|file| file.ends_with("tests/pure_house.rs")), "{files:#?}");
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    if !folder.exists() {
        return;
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
