//! Unit files changed by the stock systemctl: it prints what systemd would, links are made, and the ledger
//! says who asked. It needs a mount namespace in which the machine looks booted with systemd.

use crate::rig::{Level, Site, root_for};
use hence_ledger::{Fact, Verb};
use std::fs;
use std::process::Command;

/// Makes /run look like that of a machine booted with systemd, for one command.
const BOOTED: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec \"$@\"";

struct Said {
    code: i32,
    text: String,
}

/// Runs systemctl as a client of the site's hence.
fn systemctl(site: &Site, arguments: &[&str]) -> Said {
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", BOOTED, "sh", "systemctl", "--user", "--no-pager"])
        .args(arguments)
        .env("XDG_RUNTIME_DIR", &site.folder)
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
        // Where /proc/1/root cannot be read, systemctl believes to be in a chroot.
        .env("SYSTEMD_IGNORE_CHROOT", "1")
        .env("SYSTEMD_COLORS", "0")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("unshare runs");
    let text = [output.stdout, output.stderr].concat();
    let text =
        String::from_utf8_lossy(&text).replace(&site.path("").trim_end_matches('/').to_owned(), "SITE");
    Said { code: output.status.code().unwrap_or(-1), text }
}

/// Runs systemctl and checks what it says and its status.
#[track_caller]
fn says(site: &Site, arguments: &[&str], code: i32, texts: &[&str]) {
    let said = systemctl(site, arguments);
    assert_eq!(said.code, code, "{arguments:?}: {}\n{}", said.text, site.said());
    for text in texts {
        assert!(said.text.contains(text), "{arguments:?}: no {text:?} in {}", said.text);
    }
}

fn can() -> bool {
    let namespace = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/run"]).output();
    let client = Command::new("systemctl").arg("--version").output();
    let can = namespace.is_ok_and(|o| o.status.success()) && client.is_ok_and(|o| o.status.success());
    if !can {
        eprintln!("skipped: no systemctl, or no mount namespace for it");
    }
    can
}

/// A site whose units are at rest, with one vendor's unit in a further folder.
fn site() -> Site {
    let site = Site::new("unit-files", Level::Best);
    site.unit("many.target", "[Unit]\nDescription=Many\n");
    site.unit(
        "web.service",
        "[Service]\nExecStart=/bin/sleep 600 MARK\n[Install]\nWantedBy=many.target\nAlias=www.service\n",
    );
    site.unit("plain.service", "[Service]\nExecStart=/bin/sleep 600 MARK\n");
    fs::create_dir_all(site.path("vendor")).expect("a folder");
    let vendor = "[Service]\nExecStart=/bin/sleep 600 MARK\n".replace("MARK", &site.mark);
    fs::write(site.path("vendor/vendor.service"), vendor).expect("a unit");
    site
}

#[test]
fn the_stock_systemctl_enables_and_masks() {
    if !root_for("unit files by systemctl") || !can() {
        return;
    }
    let site = site();
    let (vendor, bus) = (site.path("vendor"), site.path("systemd/private"));
    let hence = site.start(&["--stay", "--unit", "many.target", "--unit-path", &vendor]);
    site.until_serving();
    fs::create_dir_all(site.path("systemd")).expect("a folder");
    std::os::unix::fs::symlink(site.path("bus"), &bus).expect("a link");

    says(&site, &["is-enabled", "web"], 1, &["disabled\n"]);
    says(&site, &["is-enabled", "plain"], 0, &["static\n"]);
    says(&site, &["is-enabled", "absent"], 1, &["No such file or directory"]);
    says(
        &site,
        &["enable", "--now", "web"],
        0,
        &[
            "Created symlink SITE/units/www.service → SITE/units/web.service.",
            "Created symlink SITE/units/many.target.wants/web.service → SITE/units/web.service.",
        ],
    );
    let link = site.units().join("many.target.wants/web.service");
    assert_eq!(fs::read_link(&link).expect("a link"), site.units().join("web.service"));
    says(&site, &["is-enabled", "web"], 0, &["enabled\n"]);
    says(&site, &["is-enabled", "www"], 0, &["alias\n"]);
    says(
        &site,
        &["show", "-p", "UnitFileState", "-p", "UnitFilePreset", "-p", "ActiveState", "web"],
        0,
        &["UnitFileState=enabled", "UnitFilePreset=enabled", "ActiveState=active"],
    );
    says(&site, &["list-unit-files", "w*"], 0, &["web.service enabled", "www.service alias"]);
    says(&site, &["enable", "plain"], 0, &["no installation config"]);
    says(
        &site,
        &["enable", "absent"],
        1,
        &["Failed to enable unit: Unit file absent.service does not exist."],
    );
    says(
        &site,
        &["mask", "plain"],
        1,
        &["Failed to mask unit: File SITE/units/plain.service already exists."],
    );
    says(&site, &["mask", "--runtime", "web"], 1, &["no folder for links"]);

    says(&site, &["mask", "vendor"], 0, &["Created symlink SITE/units/vendor.service → /dev/null."]);
    says(&site, &["is-enabled", "vendor"], 1, &["masked\n"]);
    says(&site, &["start", "vendor"], 1, &["Unit vendor.service is masked."]);
    says(&site, &["unmask", "vendor"], 0, &["Removed \"SITE/units/vendor.service\"."]);
    says(&site, &["start", "vendor"], 0, &[]);
    says(&site, &["add-wants", "many.target", "vendor"], 0, &["many.target.wants/vendor.service"]);
    says(&site, &["preset", "web"], 0, &[]);
    says(&site, &["set-default", "many.target"], 0, &["Created symlink SITE/units/default.target"]);
    says(&site, &["get-default"], 0, &["many.target\n"]);

    says(
        &site,
        &["disable", "--now", "web"],
        0,
        &["Removed \"SITE/units/many.target.wants/web.service\".", "Removed \"SITE/units/www.service\"."],
    );
    assert!(fs::symlink_metadata(&link).is_err());
    says(&site, &["is-active", "web"], 3, &["inactive\n"]);

    let records = site.records_so_far();
    let changes: Vec<_> = records
        .iter()
        .filter(
            |r| matches!(&r.fact, Fact::UnitFileChanged { path, .. } if path.ends_with("wants/web.service")),
        )
        .collect();
    let [made, removed] = changes[..] else { panic!("{changes:?}") };
    for (change, wanted, gone) in [(made, Verb::Enable, false), (removed, Verb::Disable, true)] {
        assert_eq!(change.unit.as_deref(), Some("web.service"));
        let Fact::UnitFileChanged { target, .. } = &change.fact else { panic!("{change:?}") };
        assert_eq!(target.is_none(), gone);
        let cause = records.iter().find(|r| r.id == change.causes[0].record).expect("its cause");
        let Fact::Request { verb, client, .. } = &cause.fact else { panic!("{cause:?}") };
        assert_eq!(*verb, wanted);
        assert!(client.command.starts_with("systemctl --user"), "{client:?}");
    }
    let history = site.ask(&["history", "web.service"]);
    let history = String::from_utf8_lossy(&history.stdout);
    assert!(history.contains("asked for enable of web.service"), "{history}");
    hence.interrupt();
}
