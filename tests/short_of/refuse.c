/*
 * Preloaded into a process, it makes what that process does to files below the folder $REFUSE_BELOW fail as a disk would that
 * went bad: while the file $REFUSE_ORDER is there, it holds the name of the call that fails (`write` or `sync`), a blank and
 * the error's number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The error for this call on this file; 0 when it is not refused. */
static int refused(const char *call, int fd)
{
    const char *below = getenv("REFUSE_BELOW"), *order = getenv("REFUSE_ORDER");
    char link[64], name[4096], text[64], which[16];
    int number, order_fd;
    ssize_t len;

    if (below == NULL || order == NULL)
        return 0;
    order_fd = (int)syscall(SYS_openat, AT_FDCWD, order, O_RDONLY | O_CLOEXEC, 0);
    if (order_fd < 0)
        return 0;
    len = syscall(SYS_read, order_fd, text, sizeof text - 1);
    syscall(SYS_close, order_fd);
    if (len <= 0)
        return 0;
    text[len] = 0;
    if (sscanf(text, "%15s %d", which, &number) != 2 || strcmp(which, call) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, name, sizeof name - 1);
    if (len < 0)
        return 0;
    name[len] = 0;
    return strncmp(name, below, strlen(below)) == 0 ? number : 0;
}

#define UNLESS_REFUSED(call, fd, otherwise)          \
    int number = refused(call, fd);                  \
    if (number != 0) {                               \
        errno = number;                              \
        return -1;                                   \
    }                                                \
    return otherwise;

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    UNLESS_REFUSED("write", fd, syscall(SYS_pwrite64, fd, data, len, offset))
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return pwrite64(fd, data, len, offset);
}

ssize_t write(int fd, const void *data, size_t len)
{
    UNLESS_REFUSED("write", fd, syscall(SYS_write, fd, data, len))
}

int fsync(int fd)
{
    UNLESS_REFUSED("sync", fd, (int)syscall(SYS_fsync, fd))
}

int fdatasync(int fd)
{
    UNLESS_REFUSED("sync", fd, (int)syscall(SYS_fdatasync, fd))
}
