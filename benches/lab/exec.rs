//! Preloaded into a hitless that runs under valgrind: there `/proc/self/exe` is valgrind, which hitless would start in the
//! place of its keeper. Names the real program instead, from `$LAB_BINARY`.

use std::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
}

const NEXT: *mut c_void = -1isize as *mut c_void;

type Execvp = unsafe extern "C" fn(*const c_char, *const *const c_char) -> c_int;
type Spawnp = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const c_void,
    *const c_void,
    *const *const c_char,
    *const *const c_char,
) -> c_int;

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvp(file: *const c_char, arguments: *const *const c_char) -> c_int {
    // SAFETY: the next function of that name is the C library's, and gets what was given to this one.
    unsafe {
        let next: Execvp = std::mem::transmute(dlsym(NEXT, c"execvp".as_ptr()));
        next(real(file), arguments)
    }
}

/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnp(
    pid: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    // SAFETY: the next function of that name is the C library's, and gets what was given to this one.
    unsafe {
        let next: Spawnp = std::mem::transmute(dlsym(NEXT, c"posix_spawnp".as_ptr()));
        next(pid, real(file), actions, attributes, arguments, environment)
    }
}

/// # Safety
///
/// `file` is a C string.
unsafe fn real(file: *const c_char) -> *const c_char {
    // SAFETY: `file` is a C string, and so is what getenv finds.
    unsafe {
        let named = getenv(c"LAB_BINARY".as_ptr());
        let itself = CStr::from_ptr(file) == c"/proc/self/exe";
        if itself && !named.is_null() {
            named
        } else {
            file
        }
    }
}
