//! Makes sled's own flush a real one.
//!
//! sled 0.34 takes a part of its log for durable once `sync_file_range` has handed it to the drive, and then uses segments
//! again whose pages it has moved there. After a power cut both may be gone: the new place was never synced, the old one is
//! overwritten. Where the kernel does not have that call, sled uses fsync; so this program does not have it.

use std::ffi::{c_int, c_uint};

use nix::errno::Errno;

/// In place of the C library's: says that there is no such call (ENOSYS).
#[allow(
    unsafe_code,
    reason = "a symbol by this name is what sled is linked to; nothing in it is unsafe"
)]
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(_file: c_int, _offset: i64, _length: i64, _flags: c_uint) -> c_int {
    Errno::ENOSYS.set();
    -1
}
