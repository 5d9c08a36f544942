//! Mounts and swap spaces: what commands and the kernel say, and where the two kinds differ;
//! systemd.mount(5), systemd.swap(5).

use hence_engine::Event;
use hence_engine::carry::Writer;
use hence_engine::sim::{Act, World, behaviour::Script};
use hence_ledger::{ActiveState, Fact, JobResult, SubState, UnitResult, Verb};
use hence_unit::UnitName;

const MOUNT: &str = "srv.mount";
const SWAP: &str = "swapfile.swap";

/// A world with one of each, whose commands behave so.
fn world(start: &str, stop: &str) -> World {
    let head = "[Unit]\nDefaultDependencies=no\n";
    let units = [
        (MOUNT.to_owned(), format!("{head}[Mount]\nWhat=tmpfs\nWhere=/srv\n")),
        (SWAP.to_owned(), format!("{head}[Swap]\nWhat=/swapfile\n")),
    ];
    let mut scripts = Vec::new();
    for unit in [MOUNT, SWAP] {
        for (directive, line) in [("ExecStart", start), ("ExecStop", stop)] {
            scripts.push((unit.to_owned(), directive.to_owned(), Script::parse(line).expect("a script")));
        }
    }
    World::new(0, &units, &scripts)
}

/// What the kernel says is attached: both, or neither.
fn kernel(w: &mut World, there: bool) {
    let all = |unit: &str| if there { vec![UnitName::new(unit).expect("a name")] } else { Vec::new() };
    w.engine.handle(w.time(), Event::Mounts(all(MOUNT)));
    w.engine.handle(w.time(), Event::Swaps { on: all(SWAP), aliases: Vec::new() });
    // What follows is done with the next request.
    w.request(Verb::Stop, "nobody.service").ok();
}

fn state(w: &World, unit: &str) -> (ActiveState, SubState, UnitResult) {
    let Some(id) = w.engine.find(unit) else {
        return (ActiveState::Inactive, SubState::Dead, UnitResult::Success);
    };
    let unit = w.engine.unit(id);
    (unit.active_state(), unit.sub_state(), unit.result())
}

fn both(w: &World) -> [(ActiveState, SubState, UnitResult); 2] {
    [state(w, MOUNT), state(w, SWAP)]
}

fn ask(w: &mut World, verb: Verb) {
    for unit in [MOUNT, SWAP] {
        w.request(verb, unit).expect("a job");
    }
}

#[test]
fn a_start_that_fails_where_it_is_there_already() {
    let mut w = world("exits 32 after 1s", "exits 0");
    kernel(&mut w, false);
    ask(&mut w, Verb::Start);
    w.run_until(w.now_us + 500_000);
    assert_eq!(both(&w).map(|state| state.1), [SubState::Mounting, SubState::SwapActivating]);
    kernel(&mut w, true);
    assert_eq!(both(&w).map(|state| state.1), [SubState::Mounting, SubState::SwapActivating], "at work");
    w.run_until(w.now_us + 1_000_000);
    let failed = (ActiveState::Failed, SubState::Failed, UnitResult::ExitCode);
    assert_eq!(both(&w), [failed, (ActiveState::Active, SubState::Active, UnitResult::ExitCode)]);
}

#[test]
fn a_stop_that_fails_leaves_up_what_is_there_and_down_what_is_gone() {
    for still_there in [true, false] {
        let mut w = world("exits 0", "exits 32 after 1s");
        kernel(&mut w, false);
        ask(&mut w, Verb::Start);
        w.run_until(w.now_us + 500_000);
        let up = |result| [SubState::Mounted, SubState::Active].map(|sub| (ActiveState::Active, sub, result));
        assert_eq!(both(&w), up(UnitResult::Success));
        kernel(&mut w, true);
        ask(&mut w, Verb::Stop);
        w.run_until(w.now_us + 500_000);
        assert_eq!(both(&w).map(|state| state.1), [SubState::Unmounting, SubState::SwapDeactivating]);
        kernel(&mut w, still_there);
        w.run_until(w.now_us + 1_000_000);
        let gone = [(ActiveState::Inactive, SubState::Dead, UnitResult::Success); 2];
        assert_eq!(both(&w), if still_there { up(UnitResult::ExitCode) } else { gone });
    }
}

#[test]
fn what_others_attach_and_detach_is_followed_and_what_was_ruled_out_is_said() {
    let mut w = world("exits 0", "exits 0");
    kernel(&mut w, false);
    let before = w.records.len();
    kernel(&mut w, true);
    assert_eq!(both(&w).map(|state| state.1), [SubState::Mounted, SubState::Active]);
    let ruled_out: Vec<&str> = w.records[before..]
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::Unknown { ruled_out } => Some(&**ruled_out),
            _ => None,
        })
        .collect();
    let said = ["no unit's command mounted or unmounted it", "a unit's command that switched it on or off"];
    assert_eq!(ruled_out, said);
    // Each kind has its own word for a successor, of this version or another.
    let mut out = Writer::default();
    w.engine.carry(&mut out);
    let text = out.finish();
    let section = |unit: &str| {
        let from = text.lines().skip_while(|line| !(line.starts_with("[unit ") && line.contains(unit)));
        from.skip(1).take_while(|line| !line.starts_with('[')).map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |unit: &str, key: &str| section(unit).iter().any(|line| line.starts_with(key));
    assert!(has(MOUNT, "mounted=") && has(SWAP, "on=") && !has(SWAP, "mounted="), "{text}");
    kernel(&mut w, false);
    assert_eq!(both(&w).map(|state| state.1), [SubState::Dead; 2]);
}

#[test]
fn an_automount_point_that_cannot_be_set_up() {
    let unit = "srv.automount";
    let head = "[Unit]\nDefaultDependencies=no\n";
    let units = [
        (unit.to_owned(), format!("{head}[Automount]\nWhere=/srv\n")),
        (MOUNT.to_owned(), format!("{head}[Mount]\nWhat=tmpfs\nWhere=/srv\n")),
    ];
    // EEXIST, EOPNOTSUPP and ENOMEM.
    let expected = [
        (17, JobResult::Failed, ActiveState::Inactive),
        (95, JobResult::Unsupported, ActiveState::Inactive),
        (12, JobResult::Failed, ActiveState::Failed),
    ];
    for (errno, result, after) in expected {
        let mut w = World::new(0, &units, &[]);
        w.automount_errno = errno;
        w.act(Act::Sockets(UnitName::new(unit).expect("a name"), false));
        w.request(Verb::Start, unit).expect("a job");
        assert_eq!(state(&w, unit).0, after, "{errno}");
        let ended = w.records.iter().find_map(|record| match record.fact {
            Fact::JobFinished { result, .. } => Some(result),
            _ => None,
        });
        assert_eq!(ended, Some(result), "{errno}");
    }
}

#[test]
fn a_command_that_takes_too_long_is_sent_the_signals_of_its_section() {
    let head = "[Unit]\nDefaultDependencies=no\n";
    let kill = "TimeoutSec=2s\nKillSignal=SIGUSR1\nFinalKillSignal=SIGQUIT";
    let units = [
        (MOUNT.to_owned(), format!("{head}[Mount]\nWhat=tmpfs\nWhere=/srv\n{kill}\n")),
        (SWAP.to_owned(), format!("{head}[Swap]\nWhat=/swapfile\n{kill}\n")),
    ];
    let script = |unit: &str, directive: &str, line: &str| {
        (unit.to_owned(), directive.to_owned(), Script::parse(line).expect("a script"))
    };
    let scripts = [MOUNT, SWAP].map(|unit| script(unit, "ExecStart", "runs, ignores USR1 QUIT"));
    let mut w = World::new(0, &units, &scripts);
    kernel(&mut w, false);
    ask(&mut w, Verb::Start);
    w.run_until(w.now_us + 2_500_000);
    let first = [SubState::UnmountingSigterm, SubState::SwapDeactivatingSigterm];
    assert_eq!(both(&w).map(|state| (state.1, state.2)), first.map(|sub| (sub, UnitResult::Timeout)));
    w.run_until(w.now_us + 2_000_000);
    let second = [SubState::UnmountingSigkill, SubState::SwapDeactivatingSigkill];
    assert_eq!(both(&w).map(|state| state.1), second);
    w.run_until(w.now_us + 2_500_000);
    let failed = (ActiveState::Failed, SubState::Failed, UnitResult::Timeout);
    assert_eq!(both(&w), [failed; 2], "nobody waits for what no signal ends");
    let signals: Vec<u8> = w
        .records
        .iter()
        .filter_map(|record| match record.fact {
            Fact::SignalSent { signal, .. } => Some(signal),
            _ => None,
        })
        .collect();
    assert_eq!(signals, [10, 10, 3, 3]);
}

#[test]
fn a_stop_ends_a_start_that_is_under_way() {
    let mut w = world("runs", "exits 0");
    kernel(&mut w, false);
    ask(&mut w, Verb::Start);
    w.run_until(w.now_us + 500_000);
    ask(&mut w, Verb::Stop);
    w.run_until(w.now_us + 1_000_000);
    let ended = (ActiveState::Failed, SubState::Failed, UnitResult::Signal);
    assert_eq!(both(&w), [ended; 2]);
}
