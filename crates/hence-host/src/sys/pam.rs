//! PAM sessions: pam(3). The library is looked for when one is asked for, so that hence itself needs none.
//! Which user and which service is the executor's; who watches the session to its end is a process of its
//! own, as systemd has it ("(sd-pam)", systemd.exec(5), PAMName=).

use super::nss;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{self, Read};
use std::mem::transmute;
use std::os::fd::{AsFd, RawFd};
use std::ptr::null_mut;

const SUCCESS: c_int = 0;
/// PAM_CONV_ERR
const CONVERSATION_FAILED: c_int = 19;
/// PAM_TTY
const TTY: c_int = 3;
/// PAM_SILENT
const SILENT: c_int = 0x8000;
/// PAM_DATA_SILENT
const DATA_SILENT: c_int = 0x4000_0000;
/// PAM_ESTABLISH_CRED, PAM_DELETE_CRED
const ESTABLISH: c_int = 2;
const DELETE: c_int = 4;
/// Variables that a session may have.
const VARIABLES: usize = 4096;

type Handle = *mut c_void;
type Converse = unsafe extern "C" fn(c_int, *mut *const c_void, *mut *mut c_void, *mut c_void) -> c_int;

/// `struct pam_conv`
#[repr(C)]
struct Conversation {
    converse: Converse,
    own: *mut c_void,
}

type Start = unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut Handle) -> c_int;
type SetItem = unsafe extern "C" fn(Handle, c_int, *const c_void) -> c_int;
type PutEnv = unsafe extern "C" fn(Handle, *const c_char) -> c_int;
type GetEnvList = unsafe extern "C" fn(Handle) -> *mut *mut c_char;
type WithNumber = unsafe extern "C" fn(Handle, c_int) -> c_int;
type StrError = unsafe extern "C" fn(Handle, c_int) -> *const c_char;

/// The functions that are used.
#[derive(Clone, Copy)]
struct Library {
    start: Start,
    end: WithNumber,
    set_item: SetItem,
    putenv: PutEnv,
    getenvlist: GetEnvList,
    /// By [`Call`].
    with_flags: [WithNumber; 4],
    strerror: StrError,
}

/// Calls that take flags.
#[derive(Clone, Copy)]
enum Call {
    Account,
    Credentials,
    Open,
    Close,
}

/// What a session is for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The service, by its file in /etc/pam.d.
    pub service: &'a CStr,
    /// The user's name.
    pub user: &'a CStr,
    /// Who ends the session.
    pub uid: u32,
    /// The group of who ends it.
    pub gid: u32,
    /// The terminal, where there is one.
    pub terminal: Option<&'a CStr>,
    /// NAME=VALUE
    pub environment: &'a [CString],
    /// Descriptors that whoever ends it must not hold open.
    pub close: &'a [RawFd],
}

/// Nobody is there to be asked for a password.
unsafe extern "C" fn nobody(_: c_int, _: *mut *const c_void, _: *mut *mut c_void, _: *mut c_void) -> c_int {
    CONVERSATION_FAILED
}

impl Library {
    /// # Errors
    /// The library or one of its functions isn't there.
    fn load() -> io::Result<Library> {
        // SAFETY: the name ends in NUL; what the library does when it is loaded is its own.
        let library = unsafe { libc::dlopen(c"libpam.so.0".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "libpam.so.0 can't be loaded"));
        }
        let find = |name: &CStr| {
            // SAFETY: the library is never unloaded, the name ends in NUL.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!found.is_null())
                .then_some(found)
                .ok_or_else(|| io::Error::other("libpam.so.0 lacks a function"))
        };
        let (start, end, set_item) = (find(c"pam_start")?, find(c"pam_end")?, find(c"pam_set_item")?);
        let (putenv, list) = (find(c"pam_putenv")?, find(c"pam_getenvlist")?);
        let (account, credentials) = (find(c"pam_acct_mgmt")?, find(c"pam_setcred")?);
        let (open, close) = (find(c"pam_open_session")?, find(c"pam_close_session")?);
        let strerror = find(c"pam_strerror")?;
        // SAFETY: the functions have the signatures that pam(3) gives them.
        unsafe {
            let with_number = |function| transmute::<*mut c_void, WithNumber>(function);
            Ok(Library {
                start: transmute::<*mut c_void, Start>(start),
                end: with_number(end),
                set_item: transmute::<*mut c_void, SetItem>(set_item),
                putenv: transmute::<*mut c_void, PutEnv>(putenv),
                getenvlist: transmute::<*mut c_void, GetEnvList>(list),
                with_flags: [account, credentials, open, close].map(with_number),
                strerror: transmute::<*mut c_void, StrError>(strerror),
            })
        }
    }
}

/// A transaction with the library.
struct Transaction {
    library: Library,
    handle: Handle,
    last: c_int,
    open: bool,
    /// Somebody else ends it.
    handed_on: bool,
}

impl Transaction {
    fn result(&mut self, what: &str, status: c_int) -> Result<(), (String, io::Error)> {
        self.last = status;
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: the handle is valid; the text is the library's, and is copied at once.
        let text = unsafe {
            let text = (self.library.strerror)(self.handle, status);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err((what.to_owned(), io::Error::new(io::ErrorKind::PermissionDenied, text)))
    }

    fn call(&mut self, what: &str, call: Call, flags: c_int) -> Result<(), (String, io::Error)> {
        // SAFETY: the handle is valid, and the function is one that takes flags.
        let status = unsafe { self.library.with_flags[call as usize](self.handle, flags) };
        self.result(what, status)
    }

    /// The variables of the session.
    fn environment(&self) -> Vec<CString> {
        // SAFETY: the library hands over a list that ends in null, of texts that end in NUL, to be freed by
        // whoever asked.
        unsafe {
            let list = (self.library.getenvlist)(self.handle);
            if list.is_null() {
                return Vec::new();
            }
            let mut found = Vec::new();
            let mut at = list;
            while !(*at).is_null() {
                if found.len() < VARIABLES {
                    found.push(CStr::from_ptr(*at).to_owned());
                }
                libc::free((*at).cast());
                at = at.add(1);
            }
            libc::free(list.cast());
            found
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.handed_on {
            return;
        }
        if self.open {
            let _ = self.call("pam_close_session", Call::Close, SILENT);
        }
        let _ = self.call("pam_setcred", Call::Credentials, DELETE | SILENT);
        // SAFETY: the handle is valid, and is not used afterwards.
        unsafe { (self.library.end)(self.handle, self.last) };
    }
}

/// Opens a session and leaves a child behind that closes it when this process, or what it becomes, ends.
/// Gives the variables that programs of the session have. This process must have one thread only.
///
/// # Errors
/// What failed, and why.
pub fn open_session(asked: &Asked<'_>) -> Result<Vec<CString>, (String, io::Error)> {
    let library = Library::load().map_err(|e| ("libpam.so.0".to_owned(), e))?;
    let conversation = Conversation { converse: nobody, own: null_mut() };
    let mut handle = null_mut();
    let (service, user) = (asked.service.as_ptr(), asked.user.as_ptr());
    // SAFETY: all texts end in NUL; the library copies them and the conversation.
    let status = unsafe { (library.start)(service, user, &conversation, &mut handle) };
    if handle.is_null() {
        let error = io::Error::other(format!("error {status}"));
        return Err(("pam_start".to_owned(), error));
    }
    let mut pam = Transaction { library, handle, last: status, open: false, handed_on: false };
    pam.result("pam_start", status)?;
    if let Some(terminal) = asked.terminal {
        // SAFETY: the handle is valid, and the item is a text that ends in NUL.
        let status = unsafe { (library.set_item)(handle, TTY, terminal.as_ptr().cast()) };
        pam.result("pam_set_item", status)?;
    }
    for variable in asked.environment {
        // SAFETY: the handle is valid, and the text ends in NUL.
        let status = unsafe { (library.putenv)(handle, variable.as_ptr()) };
        pam.result("pam_putenv", status)?;
    }
    pam.call("pam_acct_mgmt", Call::Account, SILENT)?;
    // As in systemd, what modules refuse here keeps nobody out.
    let _ = pam.call("pam_setcred", Call::Credentials, ESTABLISH | SILENT);
    pam.call("pam_open_session", Call::Open, SILENT)?;
    pam.open = true;
    let environment = pam.environment();
    hand_on(&mut pam, asked).map_err(|e| ("(sd-pam)".to_owned(), e))?;
    Ok(environment)
}

/// Leaves the end of the session to a child.
fn hand_on(pam: &mut Transaction, asked: &Asked<'_>) -> io::Result<()> {
    let (ready, begins) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let parent = std::process::id();
    // SAFETY: there is one thread only, so that the child may do what this process may.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        drop(ready);
        for number in asked.close {
            // SAFETY: nothing in this child uses these numbers any more.
            unsafe { libc::close(*number) };
        }
        wait_for_end(asked, parent, begins);
        if rustix::process::getppid().is_none_or(|now| now.as_raw_nonzero().get() as u32 != parent) {
            let _ = pam.call("pam_close_session", Call::Close, DATA_SILENT);
            pam.open = false;
            let _ = pam.call("pam_setcred", Call::Credentials, DELETE | DATA_SILENT);
        }
        // SAFETY: the handle is valid and not used afterwards; nothing of this process may run but its end.
        unsafe {
            (pam.library.end)(pam.handle, pam.last | DATA_SILENT);
            libc::_exit(0)
        }
    }
    drop(begins);
    pam.handed_on = true;
    // Its end is the sign: nothing is written.
    let _ = std::fs::File::from(ready).read(&mut [0]);
    Ok(())
}

/// Waits, as the user, until the parent has ended, or somebody says SIGTERM.
fn wait_for_end(asked: &Asked<'_>, parent: u32, begins: impl AsFd) {
    // SAFETY: the set is initialized before it is used; no other memory is involved.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &set, null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::prctl(libc::PR_SET_NAME, c"(sd-pam)".as_ptr());
        // Closing needs no privileges as a rule, and a process of the user's is told of its parent's end.
        let _ = nss::take_groups(Some(asked.gid), &[]);
        let _ = nss::become_user(asked.uid);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        drop(begins);
        while libc::getppid() as u32 == parent && libc::sigwaitinfo(&set, null_mut()) != libc::SIGTERM {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_nobody_may_use() {
        // Without a file of its own, /etc/pam.d/other is asked; without a library that is said.
        let asked = Asked {
            service: c"hence-no-such-service",
            user: c"hence-no-such-user",
            uid: 65534,
            gid: 65534,
            terminal: None,
            environment: &[c"A=b".to_owned()],
            close: &[],
        };
        let (what, error) = open_session(&asked).unwrap_err();
        assert!(what.starts_with("pam_") || what.starts_with("libpam"), "{what}: {error}");
        assert!(!error.to_string().is_empty());
    }
}
