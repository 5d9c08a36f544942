//! System V and POSIX objects of a user: RemoveIPC=. Only an executor calls it.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Removes all objects that this user owns and nobody uses. What can't be removed stays.
pub fn remove_of(uid: u32) {
    for (file, remove) in [
        ("/proc/sysvipc/shm", remove_memory as fn(i32)),
        ("/proc/sysvipc/sem", remove_semaphores),
        ("/proc/sysvipc/msg", remove_queue),
    ] {
        for number in of_user(&fs::read_to_string(file).unwrap_or_default(), uid) {
            remove(number);
        }
    }
    for folder in ["/dev/shm", "/dev/mqueue"] {
        remove_files(Path::new(folder), uid, 0);
    }
}

/// The numbers in a table whose user this is and which are not in use.
fn of_user(table: &str, uid: u32) -> Vec<i32> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = |name: &str| names.iter().position(|known| *known == name);
    let (Some(user), used) = (column("uid"), column("nattch")) else { return Vec::new() };
    let number = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let own = fields.get(user)?.parse() == Ok(uid);
        let free = used.is_none_or(|at| fields.get(at) == Some(&"0"));
        if own && free { fields.get(1)?.parse().ok() } else { None }
    };
    lines.filter_map(number).collect()
}

fn remove_memory(number: i32) {
    // SAFETY: removal takes no buffer.
    unsafe { libc::shmctl(number, libc::IPC_RMID, std::ptr::null_mut()) };
}

fn remove_semaphores(number: i32) {
    // SAFETY: as above.
    unsafe { libc::semctl(number, 0, libc::IPC_RMID) };
}

fn remove_queue(number: i32) {
    // SAFETY: as above.
    unsafe { libc::msgctl(number, libc::IPC_RMID, std::ptr::null_mut()) };
}

/// Folders in folders that are looked into.
const DEPTH: u32 = 8;

fn remove_files(folder: &Path, uid: u32, depth: u32) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && depth < DEPTH {
            remove_files(&entry.path(), uid, depth + 1);
        }
        if about.uid() == uid {
            let path = entry.path();
            let _ = if about.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_objects() {
        let memory = "   key  shmid perms   size  cpid  lpid nattch   uid   gid  cuid\n\
                      0          5  1600  1  1  1      0     7     7     7\n\
                      0          6  1600  1  1  1      2     7     7     7\n\
                      0          9  1600  1  1  1      0     8     8     8\n";
        assert_eq!(of_user(memory, 7), [5]);
        let queues = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid\n\
                      0          3   644  0  0 0 0 7 7\nbroken\n";
        assert_eq!(of_user(queues, 7), [3]);
        assert!(of_user("", 7).is_empty());
    }
}
