//! The servers that other tests rely on do what these rely on.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, can_tls, majors};
use backstay_test_servers::proxy::Proxy;
use backstay_test_servers::until;

#[test]
fn servers_of_each_major_are_apart() {
    for major in majors() {
        let (one, two) = (Server::start(major), Server::start(major));
        let version = one.psql("postgres", "SHOW server_version_num");
        assert_eq!(version.parse::<u32>().expect("a number") / 10_000, major);
        one.psql("postgres", "CREATE TABLE here (id int)");
        assert!(two.try_psql("postgres", "TABLE here").is_err());
        let identity = |server: &Server| server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
        assert_ne!(identity(&one), identity(&two));
        let error = one.try_psql("none", "SELECT 1").expect_err("there is no such database");
        assert!(error.contains("does not exist"), "{error}");
    }
}

#[test]
fn nobody_comes_in_without_the_password() {
    for major in majors() {
        let server = Server::start(major);
        for host in ["127.0.0.1", &server.socket_dir().to_string_lossy()] {
            let mut psql = server.client("psql", "postgres");
            psql.env("PGHOST", host).env("PGPASSFILE", "/dev/null").args(["--no-password", "--command=SELECT 1"]);
            let output = psql.output().expect("psql runs");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains("no password supplied"), "{told}");
        }
        assert_eq!(by_url(&server, &server.url("postgres")).as_deref(), Ok("postgres"));
    }
}

#[test]
fn a_killed_server_starts_again_with_its_data() {
    for major in majors() {
        let mut server = Server::start(major);
        let (port, pid) = (server.port(), server.pid());
        server.psql("postgres", "CREATE TABLE kept AS SELECT 7 AS seven");
        server.kill();
        assert!(!fs::exists(format!("/proc/{pid}")).expect("Linux"));
        assert!(server.try_psql("postgres", "TABLE kept").is_err());
        server.start_again();
        assert_eq!(server.psql("postgres", "TABLE kept"), "7");
        server.stop();
        server.start_again();
        assert_eq!(server.psql("postgres", "TABLE kept"), "7");
        assert_eq!(server.port(), port);
    }
}

#[test]
fn a_dropped_server_leaves_nothing() {
    for major in majors() {
        let server = Server::start(major);
        let (pid, data) = (server.pid(), server.data().to_owned());
        assert!(data.join("PG_VERSION").exists());
        drop(server);
        assert!(!fs::exists(format!("/proc/{pid}")).expect("Linux"));
        assert!(!data.exists());
    }
}

/// What makes this program one that is killed with a server running.
const DOOMED: &str = "BACKSTAY_DOOMED_TEST";

#[test]
fn no_server_outlives_a_killed_test() {
    let own = env::current_exe().expect("this program");
    let mut doomed = Command::new(own);
    doomed.args(["--exact", "waits_to_be_killed", "--nocapture"]).env(DOOMED, "1");
    let mut doomed = doomed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(doomed.stdout.take().expect("a pipe")).lines();
    let mut pids = lines.map_while(Result::ok).filter_map(|line| Some(line.rsplit_once("server ")?.1.to_owned()));
    let pids: Vec<String> = majors().iter().map(|_| pids.next().expect("it says its servers")).collect();
    assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
    doomed.kill().expect("it waits");
    for pid in pids {
        until("a server that ends with its test", || (!runs(&pid)).then_some(()));
    }
    doomed.wait().expect("it was killed");
}

#[test]
fn waits_to_be_killed() {
    if env::var_os(DOOMED).is_none() {
        return;
    }
    let servers: Vec<Server> = majors().into_iter().map(Server::start).collect();
    for server in &servers {
        println!("server {}", server.pid());
    }
    // Nobody writes to it.
    let _ = io::stdin().read(&mut [0]);
}

/// Not so of one that has ended and whom nobody has asked for its end yet.
fn runs(pid: &str) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn data_lie_on_the_disk_that_was_named() {
    let disk = backstay_test_servers::folder();
    for major in majors() {
        let server = Server::builder(major).data_on(disk.path()).setting("work_mem", "77kB").start();
        assert_eq!(server.psql("postgres", "SHOW data_directory"), disk.path().join("data").to_string_lossy());
        assert_eq!(server.psql("postgres", "SHOW work_mem"), "77kB");
    }
}

#[test]
fn a_standby_follows() {
    for major in majors() {
        let primary = Server::start(major);
        primary.psql("postgres", "CREATE TABLE early AS SELECT 1 AS n");
        let standby = Server::builder(major).standby_of(&primary).start();
        primary.psql("postgres", "CREATE TABLE late AS SELECT 2 AS n");
        standby.catch_up_with(&primary);
        assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery(), early.n, late.n FROM early, late"), "t|1|2");
    }
}

#[test]
fn a_server_with_tls_refuses_others() {
    let able: Vec<u32> = majors().into_iter().filter(|major| can_tls(*major)).collect();
    assert!(!able.is_empty(), "no server here speaks TLS");
    for major in able {
        let server = Server::builder(major).tls().start();
        assert_eq!(by_url(&server, &server.url("postgres")).as_deref(), Ok("postgres"));
        let (plain, _) =
            server.url("postgres").split_once('?').map(|(url, o)| (url.to_owned(), o.len())).expect("a query");
        let error = by_url(&server, &format!("{plain}?sslmode=disable")).expect_err("it is in the clear");
        assert!(error.contains("no encryption"), "{error}");
        let error =
            by_url(&server, &format!("{plain}?sslmode=verify-full&sslrootcert=/dev/null")).expect_err("unknown");
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn a_proxy_cuts_where_it_is_told() {
    let server = Server::start(majors()[0]);
    let proxy = Proxy::to(server.port());
    let much = "SELECT repeat('x', 1000000)";
    let ask = |sql: &str| {
        let mut psql = server.client("psql", "postgres");
        let output = psql.arg("--command").arg(sql).arg(server.url_by(proxy.port(), "postgres")).output();
        let output = output.expect("psql runs");
        if output.status.success() {
            Ok(output.stdout.len())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    };
    assert!(ask(much).expect("it forwards") > 1_000_000);
    let before = proxy.from_server();
    proxy.cut_after(500_000);
    ask(much).expect_err("it is cut");
    assert!(proxy.is_cut());
    assert_eq!(proxy.from_server() - before, 500_000);
    ask("SELECT 1").expect_err("new ones are cut as well");
    proxy.resume();
    ask(much).expect("it forwards again");
}

fn by_url(server: &Server, url: &str) -> Result<String, String> {
    let mut psql = server.client("psql", "postgres");
    let output = psql.args(["-At", "--command=SELECT current_user"]).arg(url).output().expect("psql runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn what_is_filled_alike_is_equal_until_a_row_changes() {
    for major in majors() {
        let (one, two) = (Server::start(major), Server::start(major));
        data::fill(&one, "shop", 2);
        data::fill(&two, data::HOSTILE_DATABASE, 2);
        let tables = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384";
        assert_eq!(one.psql("shop", tables), data::TABLES.to_string());
        let (before, same) = (data::fingerprint(&one, "shop"), data::fingerprint(&two, data::HOSTILE_DATABASE));
        assert_eq!(data::difference(&before, &same), [""; 0]);
        for (sql, what) in [
            ("UPDATE bulk.big SET note = note || ' ' WHERE id = 77", "rows bulk.big"),
            ("SELECT nextval('app.never_used')", "sequence app.never_used"),
            ("SELECT lo_put(700001, 2, '\\x77')", "large object 700001"),
            ("GRANT DELETE ON app.tenant TO app_reader", "rights class app.tenant"),
            ("ALTER TABLE app.tree ALTER COLUMN name SET DEFAULT 'x'", "column app.tree.name"),
            ("DROP POLICY own_rows ON app.tenant", "policy app.tenant.own_rows"),
        ] {
            let before = data::fingerprint(&one, "shop");
            one.psql("shop", sql);
            let changed = data::difference(&before, &data::fingerprint(&one, "shop"));
            assert!(changed.len() == 1 && changed[0].starts_with(&format!("{what}: ")), "{sql}: {changed:#?}");
        }
    }
}

#[test]
fn the_programs_of_postgresql_bring_all_of_it_back() {
    for major in majors() {
        let (from, to) = (Server::start(major), Server::start(major));
        data::fill(&from, data::HOSTILE_DATABASE, 2);
        let dump = tempfile::NamedTempFile::new().expect("a file");
        let dumped = from.client("pg_dump", data::HOSTILE_DATABASE).args(["-Fc", "-f"]).arg(dump.path()).status();
        assert!(dumped.expect("pg_dump runs").success());
        let globals =
            from.client("pg_dumpall", "postgres").arg("--globals-only").output().expect("pg_dumpall runs").stdout;
        // Each server keeps its own superuser with his password.
        let globals = String::from_utf8(globals).expect("UTF-8");
        let others: Vec<&str> = globals.lines().filter(|line| !line.contains(" ROLE postgres")).collect();
        to.psql("postgres", &others.join("\n"));
        let restored = to.client("pg_restore", "").args(["-eC", "-d", "postgres"]).arg(dump.path()).status();
        assert!(restored.expect("pg_restore runs").success());
        let [one, two] = [&from, &to].map(|server| data::fingerprint(server, data::HOSTILE_DATABASE));
        assert_eq!(data::difference(&one, &two), [""; 0]);
        assert_eq!(data::difference(&data::globals(&from), &data::globals(&to)), [""; 0]);
    }
}
