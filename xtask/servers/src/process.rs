//! Processes of servers: started so that they end with us, and ended by their ids only.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Account, base};
use crate::poll::until;

/// A command that runs `program`, as another user where one is named, and that gets the signal `at_our_death` should this
/// process end without ending it.
pub(crate) fn dying_with_us(program: &Path, at_our_death: &str, account: Option<Account>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(account.into_iter().flat_map(Account::options));
    command.arg(format!("--pdeathsig={at_our_death}")).arg(program);
    // Ours may be one that he cannot enter.
    command.current_dir(base());
    command
}

/// A command that runs `program` as we run, by no setting of ours: the variables of many clients are those of their servers,
/// too. Whatever it keeps about its user goes into `home`. It is killed should we die.
pub(crate) fn clean(program: &Path, home: &Path) -> Command {
    let mut command = dying_with_us(program, "KILL", None);
    command.env_clear().env("HOME", home).env("LANG", "C.UTF-8");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Starts `command` from a thread that lives as long as the process.
///
/// The signal at the parent's death comes when the thread ends that started the child. Tests are threads, and a server may
/// be shared by several.
pub(crate) fn spawn(command: Command) -> Child {
    type Job = (Command, Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, done) in queue {
                // Who asked is waiting for it.
                let _ = done.send(command.spawn());
            }
        });
        jobs
    });
    let (done, child) = channel();
    starter.send((command, done)).expect("the thread never ends");
    child.recv().expect("it answers").expect("`setpriv` runs: it is part of util-linux")
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    // A process that is gone already needs none; its id is not another's before we waited for it.
    let _ = kill_process(pid(child.id()), signal);
}

/// Kills a server and its children, and waits until none is left.
pub(crate) fn kill_all(child: &mut Child) {
    // A stopped one makes no more children, and their ids stay theirs.
    signal(child, Signal::STOP);
    let children = children(child.id());
    for id in children.iter().chain([&child.id()]) {
        let _ = kill_process(pid(*id), Signal::KILL);
    }
    child.wait().expect("it is our child");
    for id in children {
        until("the end of a server's process", || {
            let state = stat(id).map(|(state, _)| state);
            // Whoever adopted it may take its time to notice.
            matches!(state, None | Some('Z' | 'X')).then_some(())
        });
    }
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("the id of a process")
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, its_parent)| its_parent == parent)).collect()
}

/// State and parent of a process, if it is there.
fn stat(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before them may hold anything, brackets too.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}
