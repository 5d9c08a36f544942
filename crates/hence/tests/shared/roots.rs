//! Control groups that a `hence run` made. What is done with them is the test's business.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a hence of this pid has or had its groups.
pub fn cgroup_roots(pid: u32) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        let bases = match controllers {
            "" => vec!["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            "pids" => vec!["/sys/fs/cgroup/pids"],
            _ => continue,
        };
        for base in bases {
            let root = Path::new(base).join(path).join(format!("hence-{pid}"));
            if root.is_dir() {
                found.push(root);
            }
        }
    }
    found
}
