//! Memory that is given back to the kernel after a burst: free heap, unused stack, and code that is not in
//! use.

use std::ffi::{c_int, c_void};

/// Gives back what a burst of work needed: the free pages of the heap and of the stack, and the pages of this
/// program that the burst had run through. Costs a walk over the heap, and a page fault for each part of the
/// program that is used again: for after a burst, not for every event.
pub fn trim() {
    trim_heap();
    trim_stack();
    // SAFETY: the function has the signature that is asked for, keeps nothing that it is handed, and leaves
    // the pointer to its own data alone.
    unsafe {
        libc::dl_iterate_phdr(Some(let_go), std::ptr::null_mut());
    }
}

/// Has all threads share one heap, so that what one frees serves the others: for programs whose threads
/// seldom allocate. M_ARENA_MAX of mallopt(3); nothing where the allocator has no such call.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets parameters of the allocator, under the allocator's own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Lets the thread that begins next have a heap of its own, so that it and the first one need not wait for
/// each other at every turn: for one that allocates as much as the first. M_ARENA_MAX of mallopt(3); nothing
/// where the allocator has no such call.
pub fn part() {
    #[cfg(target_env = "gnu")]
    // SAFETY: as in `share`.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Prepares the heap of this thread for so many bytes: the C library lets such a heap grow page by page, with
/// a system call for each, but not where it has been as large before. Few of its pages are touched.
pub fn expect(bytes: usize) {
    /// Below what the allocator takes from the kernel by itself.
    const BLOCK: usize = 64 << 10;
    let block = || std::hint::black_box(Vec::<u8>::with_capacity(BLOCK));
    let blocks: Vec<Vec<u8>> = std::iter::repeat_with(block).take(bytes.min(BLOCKS_MAX) / BLOCK).collect();
    drop(std::hint::black_box(blocks));
}

/// How far a heap is prepared at most, in bytes: the C library's own bound is twice that.
const BLOCKS_MAX: usize = 32 << 20;

/// How far below its present end the stack is given back, in bytes, and what is left alone next to it.
const STACK: (usize, usize) = (256 << 10, 1 << 10);

/// Lets go of what deeper calls had on the stack.
#[inline(never)]
fn trim_stack() {
    let here = 0u8;
    let page = rustix::param::page_size();
    let end = (std::ptr::from_ref(&here) as usize).saturating_sub(STACK.1) / page * page;
    // The stack is mapped only as far down as it was ever used: page by page, up to the first that is not.
    for at in (end.saturating_sub(STACK.0)..end).step_by(page).rev() {
        // SAFETY: stacks grow down on every machine that this runs on, so nothing in use lies this far below
        // a local variable of the innermost function; what isn't mapped is refused. Pages come back as zeros,
        // which no call relies on.
        if unsafe { libc::madvise(at as *mut c_void, page, libc::MADV_DONTNEED) } != 0 {
            break;
        }
    }
}

/// malloc_trim(3); nothing where the allocator has no such call.
fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only touches free memory of the allocator, under the allocator's own lock.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the segments of an object that are never written. Their pages are those of the file; the kernel
/// maps them again when they are used, mostly without reading anything. Libraries, too: in a container nobody
/// else may have them mapped.
unsafe extern "C" fn let_go(object: *mut libc::dl_phdr_info, _size: usize, _own: *mut c_void) -> c_int {
    // SAFETY: the C library hands a valid object, whose headers are as many as it says, for this call.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)))
    };
    let page = rustix::param::page_size() as u64;
    for header in headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0) {
        let from = (base + header.p_vaddr).next_multiple_of(page);
        let to = (base + header.p_vaddr + header.p_memsz) / page * page;
        if from < to {
            // SAFETY: these whole pages belong to one mapping of the object's file that was mapped without
            // the right to write and never got it: what comes back is what was there.
            unsafe {
                libc::madvise(from as *mut c_void, (to - from) as usize, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_a_heap_of_its_own() {
        share();
        part();
        let thread = std::thread::spawn(|| {
            expect(usize::MAX);
            vec![7u8; 100 << 10]
        });
        assert_eq!(thread.join().unwrap(), vec![7u8; 100 << 10]);
    }

    #[test]
    fn the_program_goes_on() {
        static WORDS: [&str; 3] = ["as", "it", "was"];
        let kept: Vec<String> = WORDS.iter().map(ToString::to_string).collect();
        trim();
        assert_eq!(kept, WORDS);
    }
}
