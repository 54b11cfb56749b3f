//! Restores that end in the middle.

use std::future::Future;
use std::time::Duration;

use backstay_core::clock::{Clock as _, SystemClock};
use backstay_core::source::{ImportOptions, ImportPlan, ResourceImporter as _};
use backstay_core::{ErrorKind, Result};
use backstay_postgres::PgRestore;
use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, majors};
use backstay_testkit::items::Items;

use super::world::{databases, foreign, items_of, program, restore, small, state, world};

const AT_WORK: &str = "select count(*) from pg_stat_activity where application_name in ('pg_restore', 'backstay') and datname = 'scratch'";

async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..600 {
        if ready() {
            return;
        }
        SystemClock.sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come");
}

/// A trigger on events would be restored too; a lock at a point of the archive's own making is not. This program stops before
/// the data until it is told to go on.
fn slow(server: &Server, folder: &std::path::Path) {
    let real = server.bin().join("pg_restore");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--dbname*) ;; *) exec {0} \"$@\";; esac\n\
         {{ head -c 150000; touch {1}/begun; while [ ! -e {1}/go ]; do sleep 0.05; done; cat; }} | {0} \"$@\"\n",
        real.display(),
        folder.display()
    );
    program(folder, &script);
}

/// A restore that is in the middle of its data, and the plan that it applies.
pub(super) async fn begun(
    server: &Server,
    items: &Items,
    folder: &std::path::Path,
) -> (PgRestore, ImportPlan, tokio::task::JoinHandle<Result<()>>) {
    slow(server, folder);
    let slow = restore(server).into("scratch").programs_in(folder);
    let plan = slow.plan(items, &ImportOptions::default()).await.unwrap();
    let (working, items, applied) = (slow.clone(), items.clone(), plan.clone());
    let task = tokio::spawn(async move { working.apply(&items, applied).await.map(drop) });
    until("the restore", || folder.join("begun").exists()).await;
    until("its session", || server.psql("postgres", AT_WORK) != "0").await;
    (slow, plan, task)
}

type Fingerprint = std::collections::BTreeMap<String, String>;

async fn finishes(server: &Server, items: &Items, plan: ImportPlan, live: &Fingerprint) {
    let restore = restore(server).into("scratch");
    restore.apply(items, plan).await.unwrap();
    let difference = data::difference(live, &data::fingerprint(server, "scratch"));
    assert_eq!(difference, [""; 0]);
    assert!(restore.scratches().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_restore_leaves_nothing_and_the_plan_still_holds() {
    for major in majors() {
        let (server, items) = world(major).await;
        let folder = tempfile::tempdir().unwrap();
        let live = data::fingerprint(&server, "small");
        let before = state(&server);
        let (_, plan, task) = begun(&server, &items, folder.path()).await;
        assert_eq!(databases(&server), ["postgres", "scratch", "small"]);
        let shut = server.psql("postgres", "select has_database_privilege('reader', 'scratch', 'connect')");
        assert_eq!(shut, "f", "nobody's business yet");
        task.abort();
        until("the end", || state(&server) == before).await;
        finishes(&server, &items, plan, &live).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_dropped_at_any_poll_leaves_nothing() {
    let major = majors()[0];
    let (server, items) = world(major).await;
    let before = state(&server);
    let restore = restore(&server).into("scratch");
    let plan = restore.plan(&items, &ImportOptions::default()).await.unwrap();
    let mut ended = false;
    for polls in (1..).map(|n: usize| n * n) {
        let applied = dropped_after(polls, restore.apply(&items, plan.clone())).await;
        if let Some(result) = applied {
            // What was dropped before may hold the name for a moment; then it is whole.
            result.unwrap();
            ended = true;
            break;
        }
        until("the end", || state(&server) == before).await;
    }
    assert!(ended);
    assert_eq!(databases(&server), ["postgres", "scratch", "small"]);
}

async fn dropped_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (Box::pin(work), polls);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => {
            left = left.saturating_sub(1);
            if left == 0 { std::task::Poll::Ready(None) } else { std::task::Poll::Pending }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_or_backend_fails_the_restore_and_drops_the_database() {
    for major in majors() {
        let (server, items) = world(major).await;
        let (before, live) = (state(&server), data::fingerprint(&server, "small"));
        for how in ["client", "backend", "both"] {
            let folder = tempfile::tempdir().unwrap();
            let (_, plan, task) = begun(&server, &items, folder.path()).await;
            if how != "client" {
                let backends = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'scratch'";
                server.psql("postgres", backends);
            }
            if how == "both" {
                // The session that holds the lock and would drop the database is ended, too.
                let ours = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'backstay'";
                server.psql("postgres", ours);
            }
            if how == "client" {
                kill_clients(folder.path());
            }
            std::fs::write(folder.path().join("go"), "").unwrap();
            let error = task.await.unwrap().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Other | ErrorKind::Unavailable), "{how}: {error}");
            until("the end", || state(&server) == before).await;
            finishes(&server, &items, plan, &live).await;
            server.psql("postgres", "drop database scratch");
        }
    }
}

/// Kills the children of the slow program in this folder: they have its path in their arguments, and nobody else has.
fn kill_clients(folder: &std::path::Path) {
    let path = folder.display().to_string();
    let of = |pid: u32, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let pids: Vec<u32> =
        std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
    let shells: Vec<u32> =
        pids.iter().copied().filter(|pid| String::from_utf8_lossy(&of(*pid, "cmdline")).contains(&path)).collect();
    let parent = |pid: u32| -> Option<u32> {
        let stat = String::from_utf8_lossy(&of(pid, "stat")).into_owned();
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let mut killed = 0;
    for pid in pids {
        let restores = String::from_utf8_lossy(&of(pid, "cmdline")).contains("--dbname=");
        if restores && (shells.contains(&pid) || parent(pid).is_some_and(|parent| shells.contains(&parent))) {
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            killed += 1;
        }
    }
    assert!(killed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_a_marked_database_that_the_plan_makes_anew() {
    for major in majors() {
        let (mut server, items) = world(major).await;
        let folder = tempfile::tempdir().unwrap();
        let live = data::fingerprint(&server, "small");
        let (slow, plan, task) = begun(&server, &items, folder.path()).await;
        server.kill();
        std::fs::write(folder.path().join("go"), "").unwrap();
        task.await.unwrap().unwrap_err();
        server.start_again();
        let left = slow.scratches().await.unwrap();
        assert_eq!((left.len(), left[0].name.as_str(), left[0].whole, left[0].expired), (1, "scratch", false, false));
        // Another plan leaves it alone, and so does a sweep before its time.
        let theirs = items_of(foreign(&server, "small", 0));
        let other = restore(&server).into("scratch").plan(&theirs, &ImportOptions::default()).await.unwrap();
        assert!(other.to_string().contains("another restore made it"), "{other}");
        assert!(slow.sweep(left).await.unwrap().is_empty());
        finishes(&server, &items, plan, &live).await;
        let mut difference = data::difference(&live, &data::fingerprint(&server, "small"));
        // PostgreSQL itself leaves numbers out when a server is killed.
        difference.retain(|line| !line.starts_with("sequence "));
        assert_eq!(difference, [""; 0]);
    }
}

#[tokio::test]
async fn databases_for_a_while_are_swept_when_it_is_over_and_renamed_ones_never() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        let items = super::world::dumped(&server, &["small"]).await;
        let apply = |name: &'static str, hours| {
            let restore = restore(&server).into(name).expires_after(jiff::SignedDuration::from_hours(hours));
            let items = items.clone();
            async move {
                let plan = restore.plan(&items, &ImportOptions::default()).await.unwrap();
                restore.apply(&items, plan).await.unwrap();
            }
        };
        apply("over", -1).await;
        apply("used", -1).await;
        apply("later", 24).await;
        server.psql("postgres", "alter database used rename to live");
        let restore = restore(&server);
        let shown = restore.scratches().await.unwrap();
        let names: Vec<(&str, bool, bool)> = shown.iter().map(|s| (s.name.as_str(), s.whole, s.expired)).collect();
        assert_eq!(names, [("later", true, false), ("over", true, true)]);
        let gone = restore.sweep(shown).await.unwrap();
        assert_eq!(gone.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["over"]);
        assert_eq!(databases(&server), ["later", "live", "postgres", "small"]);
        restore.discard("later").await.unwrap();
        restore.discard("later").await.unwrap();
        assert_eq!(restore.discard("live").await.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(restore.discard("small").await.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(databases(&server), ["live", "postgres", "small"]);
    }
}
