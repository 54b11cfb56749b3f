//! A server of Amazon's JSON protocol that answers as a test says: for what other servers cannot be made to do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Whose credential everybody has.
pub const ACCOUNT: &str = "123456789012";

/// A server on loopback, on threads of its own, until the test ends.
pub struct Scripted {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

/// What is answered: JSON, or an error by its code.
pub type Answer = Result<Value, &'static str>;

type Answers = dyn FnMut(&str, &Value) -> Answer + Send;

struct Script {
    answer: Box<Answers>,
    calls: Vec<(String, Value)>,
    /// Operations whose next answers are lost, though they are done.
    lost: BTreeMap<String, usize>,
    /// The same, and something else is answered.
    garbled: BTreeMap<String, usize>,
}

impl Scripted {
    /// `answer` gets the operation, as `PutItem`, and what it was asked with.
    pub fn start(answer: impl FnMut(&str, &Value) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let script =
            Script { answer: Box::new(answer), calls: Vec::new(), lost: BTreeMap::new(), garbled: BTreeMap::new() };
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(connection, &shared));
            }
        });
        Self { address, script }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next so many answers of an operation are lost: it is done, and the connection ends.
    pub fn lose(&self, operation: &str, answers: usize) {
        self.script.lock().expect("no panic").lost.insert(operation.to_owned(), answers);
    }

    /// The next so many answers of an operation come as something else: it is done, and nobody can read that.
    pub fn garble(&self, operation: &str, answers: usize) {
        self.script.lock().expect("no panic").garbled.insert(operation.to_owned(), answers);
    }

    /// What an operation was asked with, each time.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        let script = self.script.lock().expect("no panic");
        script.calls.iter().filter(|(name, _)| name == operation).map(|(_, asked)| asked.clone()).collect()
    }
}

impl Script {
    /// None where the answer is lost.
    fn answer(&mut self, operation: &str, asked: &Value) -> Option<Answer> {
        self.calls.push((operation.to_owned(), asked.clone()));
        let answer = (self.answer)(operation, asked);
        (!take_one(&mut self.lost, operation)).then_some(answer)
    }
}

fn take_one(counts: &mut BTreeMap<String, usize>, operation: &str) -> bool {
    let Some(left) = counts.get_mut(operation).filter(|left| **left > 0) else { return false };
    *left -= 1;
    true
}

/// The items of a table, by `LockID`.
pub type Table = Arc<Mutex<BTreeMap<String, Value>>>;

/// As much of DynamoDB as Terraform's locks need.
pub fn table(items: &Table) -> impl FnMut(&str, &Value) -> Answer + Send + 'static {
    let items = Arc::clone(items);
    move |operation, asked| {
        let mut items = items.lock().expect("no panic");
        let id = asked["Item"]["LockID"]["S"].as_str().or(asked["Key"]["LockID"]["S"].as_str()).expect("an id");
        let there = items.get(id).cloned().unwrap_or_default();
        let wants = asked["ExpressionAttributeValues"].as_object().and_then(|values| values.values().next());
        let holds = match asked["ConditionExpression"].as_str() {
            None => true,
            Some("attribute_not_exists(LockID)") => there.is_null(),
            Some("attribute_not_exists(Digest)") => there["Digest"].is_null(),
            Some("Digest = :old") => Some(&there["Digest"]) == wants,
            Some("attribute_not_exists(Digest) OR Digest = :old") => {
                there["Digest"].is_null() || Some(&there["Digest"]) == wants
            }
            Some("Info = :ours") => Some(&there["Info"]) == wants,
            Some(other) => panic!("a condition that is not played here: {other}"),
        };
        if !holds {
            return Err("ConditionalCheckFailedException");
        }
        match operation {
            "GetItem" if there.is_null() => return Ok(json!({})),
            "GetItem" => return Ok(json!({ "Item": there })),
            "PutItem" => items.insert(id.to_owned(), asked["Item"].clone()),
            "DeleteItem" => items.remove(id),
            other => panic!("an operation that is not played here: {other}"),
        };
        Ok(json!({}))
    }
}

/// Answers requests of one connection until it is closed, or an answer is lost.
fn serve(connection: TcpStream, script: &Mutex<Script>) {
    let Ok(reading) = connection.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(reading), connection);
    while let Some((target, body)) = read(&mut reader) {
        let answered = match target.rsplit_once('.') {
            Some((_, operation)) => {
                let asked = serde_json::from_slice(&body).expect("JSON");
                let Some(answer) = script.lock().expect("no panic").answer(operation, &asked) else { return };
                match answer {
                    _ if take_one(&mut script.lock().expect("no panic").garbled, operation) => (200, "<p>".to_owned()),
                    Ok(answer) => (200, answer.to_string()),
                    Err(code) => {
                        let status = if code.starts_with("Internal") { 500 } else { 400 };
                        (status, json!({ "__type": code, "message": "as the test says" }).to_string())
                    }
                }
            }
            // The one that speaks XML.
            None => (200, identity()),
        };
        let (status, body) = answered;
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
        if writer.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn identity() -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
}

/// The header that names the operation, and the body.
fn read(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut target, mut length) = (String::new(), 0);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_lowercase().as_str() {
            "x-amz-target" => target = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((target, body))
}
