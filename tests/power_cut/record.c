/*
 * Preloaded into a process, it records what that process does to files below the folder $RECORD_BELOW, in the order in
 * which it became so, into the file $RECORD_TO.
 *
 * A write is recorded once it is done, a sync both when it begins and when it is done: what was recorded before a sync began
 * is on the disk once the sync is done. Writes to the file `acknowledged` are recorded before they are done, so that nothing
 * counts as acknowledged later than it was said.
 *
 * A record is: kind (1 byte), number (u64), offset (u64), lengths of path, second path and data (u64 each), and those three.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int record_fd = -1;
static char below[4096];
static size_t below_len;
static uint64_t syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *to = getenv("RECORD_TO");
    const char *folder = getenv("RECORD_BELOW");
    if (to == NULL || folder == NULL)
        return;
    snprintf(below, sizeof below, "%s/", folder);
    below_len = strlen(below);
    record_fd = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t done = syscall(SYS_write, record_fd, at, len);
        if (done <= 0)
            abort();
        at += done;
        len -= (size_t)done;
    }
}

/* With the lock held. */
static void record(char kind, uint64_t number, uint64_t offset, const char *path, const char *second,
                   const void *data, size_t len)
{
    uint64_t head[5] = {number, offset, strlen(path), second ? strlen(second) : 0, len};
    put(&kind, 1);
    put(head, sizeof head);
    put(path, head[2]);
    if (second)
        put(second, head[3]);
    put(data, len);
}

/* The path below the folder, or NULL for what is not of interest. */
static const char *inside(const char *path)
{
    return record_fd >= 0 && path && strncmp(path, below, below_len) == 0 ? path + below_len : NULL;
}

static const char *name_of(int fd, char *buffer, size_t size)
{
    char link[64];
    if (record_fd < 0 || fd == record_fd)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, buffer, size - 1);
    if (len < 0)
        return NULL;
    buffer[len] = 0;
    return inside(buffer);
}

static int is_acknowledgement(const char *name)
{
    return strcmp(name, "acknowledged") == 0;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    char buffer[4096];
    ssize_t done = syscall(SYS_pwrite64, fd, data, len, offset);
    int saved = errno;
    const char *name = done > 0 ? name_of(fd, buffer, sizeof buffer) : NULL;
    if (name) {
        pthread_mutex_lock(&lock);
        record('w', 0, (uint64_t)offset, name, NULL, data, (size_t)done);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return pwrite64(fd, data, len, offset);
}

ssize_t write(int fd, const void *data, size_t len)
{
    char buffer[4096];
    const char *name = name_of(fd, buffer, sizeof buffer);
    if (!name)
        return syscall(SYS_write, fd, data, len);
    pthread_mutex_lock(&lock);
    if (is_acknowledgement(name)) {
        record('a', 0, 0, name, NULL, data, len);
        ssize_t done = syscall(SYS_write, fd, data, len);
        pthread_mutex_unlock(&lock);
        return done;
    }
    int flags = fcntl(fd, F_GETFL);
    off64_t offset = lseek64(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, len);
    int saved = errno;
    if (done > 0)
        record('w', 0, (uint64_t)offset, name, NULL, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

static int sync_with(long number, int fd)
{
    char buffer[4096];
    const char *name = name_of(fd, buffer, sizeof buffer);
    uint64_t this = 0;
    if (name) {
        pthread_mutex_lock(&lock);
        this = ++syncs;
        record('s', this, 0, name, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    int result = (int)syscall(number, fd);
    int saved = errno;
    if (name && result == 0) {
        pthread_mutex_lock(&lock);
        record('f', this, 0, name, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}

int fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned int flags)
{
    /* Makes nothing durable; left out so that the machine's disk does not set the pace. */
    (void)fd, (void)offset, (void)len, (void)flags;
    return 0;
}

int ftruncate64(int fd, off64_t len)
{
    char buffer[4096];
    const char *name = name_of(fd, buffer, sizeof buffer);
    int result = (int)syscall(SYS_ftruncate, fd, len);
    int saved = errno;
    if (name && result == 0) {
        pthread_mutex_lock(&lock);
        record('t', 0, (uint64_t)len, name, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

static int open_with(int folder, const char *path, int flags, mode_t mode)
{
    const char *name = inside(path);
    struct stat64 before;
    int is_new = name && (flags & O_CREAT) && stat64(path, &before) != 0;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    int saved = errno;
    if (fd >= 0 && name && (is_new || (flags & O_TRUNC))) {
        pthread_mutex_lock(&lock);
        record(is_new ? 'c' : 't', 0, 0, name, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return fd;
}

#define MODE(flags, mode)                            \
    mode_t mode = 0;                                 \
    if ((flags) & (O_CREAT | O_TMPFILE)) {           \
        va_list arguments;                           \
        va_start(arguments, flags);                  \
        mode = (mode_t)va_arg(arguments, int);       \
        va_end(arguments);                           \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_with(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_with(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_with(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_with(folder, path, flags, mode);
}

int rename(const char *from, const char *to)
{
    const char *old = inside(from), *new = inside(to);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    int saved = errno;
    if (result == 0 && old && new) {
        pthread_mutex_lock(&lock);
        record('r', 0, 0, old, new, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}

int unlink(const char *path)
{
    const char *name = inside(path);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int saved = errno;
    if (result == 0 && name) {
        pthread_mutex_lock(&lock);
        record('u', 0, 0, name, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    const char *name = inside(path);
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int saved = errno;
    if (result == 0 && name) {
        pthread_mutex_lock(&lock);
        record('m', 0, 0, name, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}
