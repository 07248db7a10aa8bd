//! Keeps descriptors that the daemon inherited (from a shell, a supervisor) away from the scripts.

use nix::libc;

/// Marks every open descriptor above 2 as close-on-exec. What this program opens itself is so anyway; only what it was
/// handed at its own start is not.
pub(super) fn keep_from_children() {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else {
        tracing::warn!(
            "/proc/self/fd cannot be read; scripts may inherit descriptors that hem itself was started with"
        );
        return;
    };
    let numbers = descriptors
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2) {
        set_close_on_exec(number);
    }
}

#[allow(
    unsafe_code,
    reason = "an inherited descriptor is known by its number alone, for which there is no safe call"
)]
fn set_close_on_exec(descriptor: i32) {
    // SAFETY: F_SETFD touches no memory of this process. A number that is closed by now gives EBADF, one that was reused
    // belongs to a descriptor that is to be close-on-exec as well.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
}
