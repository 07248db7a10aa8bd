//! A file system that never answers, which only the processes of one mount namespace see.

use std::path::Path;

use super::namespace::Namespace;

/// What to do where there is no such file system to be had.
const NEEDS: &str = "this test needs a mount namespace and the kernel's FUSE: run it as root (in a container with CAP_SYS_ADMIN \
                     and /dev/fuse, for Docker `--cap-add SYS_ADMIN --device /dev/fuse`), or as a user who may make user \
                     namespaces and open /dev/fuse";

/// Holds the kernel's end of a FUSE mount and answers nothing, as a server that is gone does: whoever looks at a path below it
/// waits.
const SERVER: &str = "exec 3<>/dev/fuse && \
    mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 silent \"$1\" && echo mounted && exec cat";

/// Mounts it on `folder`; whoever waits for it, waits until it is dropped.
pub(crate) fn silent_disk(folder: &Path) -> Namespace {
    Namespace::mount(folder, SERVER, &[], NEEDS)
}
