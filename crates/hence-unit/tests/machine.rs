//! The unit files of the machine that runs the tests, where it has systemd's.

mod files;

use files::Machine;
use hence_unit::{LoadState, UnitName, unit_path};
use std::time::Instant;

const FOLDER: &str = "/usr/lib/systemd/system";

#[test]
fn all_units_of_the_distribution_load() {
    if !std::path::Path::new(FOLDER).is_dir() {
        eprintln!("skipped: there is no {FOLDER}");
        return;
    }
    let path = unit_path::UnitPath::scan(&Machine, &unit_path::system_folders());
    let mut wrong = Vec::new();
    let (mut loaded, mut masked) = (0, 0);
    let names: Vec<UnitName> = path.names().cloned().collect();
    let begun = Instant::now();
    for name in &names {
        let unit = if name.is_template() { name.with_instance("test").unwrap() } else { name.clone() };
        let config = hence_unit::load(&path, &Machine, &files::environs(), &unit);
        match config.load {
            LoadState::Loaded => loaded += 1,
            LoadState::Masked => masked += 1,
            state => wrong.push(format!("{unit}: {} {:?}", state.as_str(), config.diagnostics)),
        }
        for diagnostic in config.diagnostics {
            eprintln!("{diagnostic}");
        }
    }
    let each = begun.elapsed() / names.len().max(1) as u32;
    eprintln!("{loaded} loaded, {masked} masked, {each:?} each");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(loaded > 50, "{loaded}");
}
