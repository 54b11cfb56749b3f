//! Passwords are in no process list, environment, log, event or error. Alone in its file: what is logged and who runs is the
//! whole process's.

mod support;

use std::fs;
use std::sync::{Arc, Mutex};

use backstay::Event;
use backstay_test_servers::postgres::{Server, majors};
use backstay_testkit::EventLog;
use support::World;
use support::lines::Lines;
use support::postgres::{backstay, dump, fill, processes};

/// What anybody can see of all processes, but for our own's environment.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(String, usize)>>);

impl Seen {
    fn look(&self) {
        let mut seen = self.0.lock().expect("no panic");
        for pid in processes() {
            for file in ["cmdline", "environ"] {
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                if text.contains("PGPASSFILE=/proc/") {
                    seen.1 += 1;
                }
                seen.0.push_str(&text);
            }
        }
    }
}

#[test]
fn passwords_are_in_no_process_list_environment_log_event_or_error() {
    let server = Server::start(majors()[0]);
    fill(&server, "orders", 40_000);
    let password = server.password().to_owned();
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'planted'");
    let verifier = server.psql("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'");
    let (lines, seen, events) = (Lines::default(), Seen::default(), EventLog::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let told = tracing::subscriber::with_default(lines.subscriber(), || {
        runtime.block_on(async {
            let world = World::new(13).await;
            let observer = {
                let (seen, events) = (seen.clone(), events.clone());
                move |event: &Event| {
                    backstay::Observer::event(&events, event);
                    if matches!(event, Event::ItemProgress { .. }) {
                        seen.look();
                    }
                }
            };
            let dump = dump(&server).databases(["orders", "absent"]);
            let backstay = backstay(&world, dump.clone(), observer).await;
            let error = backstay.backup("daily").await.expect_err("one is absent");
            let wrong = support::postgres::connect(&server).user("nobody");
            let (_, refused) =
                support::postgres::export(&backstay::postgres::PgDump::new(wrong).programs_in(server.bin())).await;
            let refused = refused.expect_err("there is no such role");
            let component = &support::postgres::partial(&error).components[0];
            format!("{error:?} {refused:?} {component:?} {backstay:?} {dump:?} {dump} {:?}", events.all())
        })
    });
    let logged = lines.text();
    assert!(logged.contains("component_done"), "nothing was logged: {logged}");
    let seen = seen.0.lock().expect("no panic");
    assert!(seen.1 > 0 && seen.0.contains("--format=custom"), "pg_dump was not seen at work");
    let (_, secret) = verifier.split_once('$').expect("a verifier");
    for secret in [password.as_str(), secret] {
        assert!(!seen.0.contains(secret), "a process shows a secret");
        assert!(!told.contains(secret), "a secret shows in Debug, an error or an event");
        assert!(!logged.contains(secret), "a secret shows in the log");
    }
}
