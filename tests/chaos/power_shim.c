/* What a power cut would leave of the files that a process writes: loaded with LD_PRELOAD.
 *
 * Before each change below POWER_ROOT this library appends to POWER_JOURNAL what is needed to undo
 * it, and after each sync which changes that sync made durable. Nothing is changed in what the
 * process itself sees. When it was killed, power.py undoes what no sync covers: all of it, or parts.
 *
 * Modelled: write, pwrite, writev, ftruncate, O_TRUNC and sendfile on regular files, by blocks; new
 * files and directories, rename and unlink, durable only once their directory is synced; fsync and
 * fdatasync, which make durable what was written before they began. The boot id that the process
 * reads is the text of POWER_BOOT_ID. While there is a file POWER_LIES no sync makes anything durable.
 *
 * Not modelled, and aborted on when met below POWER_ROOT: O_SYNC and O_DSYNC, pwritev, shared
 * writable mappings (but LMDB's lock file, which is no data), rmdir, truncate, link, fallocate,
 * copy_file_range. Not seen at all: descriptors duplicated with dup, stdio, io_uring.
 *
 * A block (4 KiB) is kept once between two syncs of its file: of several writes to it only what was
 * there before the first can come back; with POWER_EVERY in the environment it is kept each time, so
 * that the files can be put back as they were before any operation. Sectors (512 bytes) are never torn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096ULL
#define FDS 65536
#define FILES 4096

struct record { /* read by power.py: little endian, then `text` and `data` bytes */
    char kind;  /* W write, T truncate, S sync, C create, R rename, U unlink */
    char padding[3];
    uint32_t text;
    uint64_t data, inode, a, b;
};

struct file { /* the blocks of a file that were kept since its last sync */
    uint64_t inode;
    uint8_t *kept;
    uint64_t blocks;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *graveyard, *boot_id, *lies;
static size_t root_length;
static int journal = -1;
static int keeps_every;
static uint64_t graves;
static uint64_t inodes[FDS]; /* of the open files below root, by descriptor */
static char unmodelled[FDS];
static struct file files[FILES];

static void die(const char *what) {
    dprintf(2, "power_shim: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("POWER_JOURNAL");
    root = getenv("POWER_ROOT");
    graveyard = getenv("POWER_GRAVEYARD");
    boot_id = getenv("POWER_BOOT_ID");
    lies = getenv("POWER_LIES");
    keeps_every = getenv("POWER_EVERY") != NULL;
    if (!path || !root || !graveyard || !boot_id || !lies) die("POWER_... is not set");
    root_length = strlen(root);
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) die(path);
}

/* --- what is where --- */

static int below_root(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int path_of(int fd, char *out) {
    char link[64];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    if (length < 0) return 0;
    out[length] = 0;
    return 1;
}

static void absolute(int directory, const char *path, char *out) {
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    if (directory == AT_FDCWD ? !getcwd(out, PATH_MAX) : !path_of(directory, out)) die(path);
    size_t length = strlen(out);
    snprintf(out + length, PATH_MAX - length, "/%s", path);
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) ? 0 : found.st_ino;
}

static uint64_t parent_of(const char *path) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = 0;
    return inode_at(parent);
}

static const char *name_of(const char *path) { return strrchr(path, '/') + 1; }

static uint64_t size_of(int fd) {
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    return found.st_size;
}

static uint64_t inode_of(int fd) { return fd >= 0 && fd < FDS ? inodes[fd] : 0; }

/* --- the journal --- */

static void append(struct record record, const char *text, const void *data) {
    struct iovec parts[3] = {
        {&record, sizeof record}, {(void *)text, record.text}, {(void *)data, record.data}};
    ssize_t whole = sizeof record + record.text + record.data;
    if (syscall(SYS_writev, journal, parts, 3) != whole) die("journal");
}

static uint64_t journal_end(void) { return syscall(SYS_lseek, journal, 0, SEEK_END); }

static struct file *file_with(uint64_t inode) {
    for (int i = 0; i < FILES; i++) {
        if (!files[i].inode) files[i].inode = inode;
        if (files[i].inode == inode) return &files[i];
    }
    die("too many files");
    return NULL;
}

static void forget_blocks(uint64_t inode) {
    struct file *file = file_with(inode);
    if (file->kept) memset(file->kept, 0, file->blocks);
}

/* Blocks first to last of a file of that size, as they are now. */
static void keep_blocks(int fd, uint64_t inode, uint64_t first, uint64_t last, uint64_t size) {
    uint64_t from = first * BLOCK, to = (last + 1) * BLOCK;
    uint64_t count = from >= size ? 0 : (to < size ? to : size) - from;
    char *old = malloc(count + 1), name[64];
    if (count) { /* fd may be open for writing alone */
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        int in = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
        if (in < 0 || syscall(SYS_pread64, in, old, count, from) != (ssize_t)count) die("pread");
        syscall(SYS_close, in);
    }
    append((struct record){'W', {0}, 0, count, inode, from, size}, NULL, old);
    free(old);
}

static void before_write(int fd, uint64_t offset, uint64_t length) {
    uint64_t inode = inodes[fd], size = size_of(fd);
    uint64_t first = offset / BLOCK, last = (offset + length - 1) / BLOCK;
    struct file *file = file_with(inode);
    if (unmodelled[fd]) die("a write to a file opened with O_SYNC");
    if (last >= file->blocks) {
        uint64_t blocks = 2 * last + 64;
        file->kept = realloc(file->kept, blocks);
        memset(file->kept + file->blocks, 0, blocks - file->blocks);
        file->blocks = blocks;
    }
    for (uint64_t block = first; block <= last; block++) {
        uint64_t run = block;
        while (run <= last && !file->kept[run]) file->kept[run++] = !keeps_every;
        if (run > block) keep_blocks(fd, inode, block, run - 1, size);
        if (run > block) block = run - 1;
    }
}

/* --- writing --- */

static ssize_t written(int fd, uint64_t offset, uint64_t length, long call, ...) {
    long x, y, z;
    va_list list;
    va_start(list, call);
    x = va_arg(list, long), y = va_arg(list, long), z = va_arg(list, long);
    va_end(list);
    if (!inode_of(fd) || !length) return syscall(call, fd, x, y, z);
    pthread_mutex_lock(&lock);
    before_write(fd, offset, length);
    ssize_t result = syscall(call, fd, x, y, z);
    pthread_mutex_unlock(&lock);
    return result;
}

static uint64_t position(int fd) {
    if (!inode_of(fd)) return 0;
    if (fcntl(fd, F_GETFL) & O_APPEND) return size_of(fd);
    return syscall(SYS_lseek, fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t length) {
    return written(fd, position(fd), length, SYS_write, (long)data, (long)length, 0L);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return written(fd, offset, length, SYS_pwrite64, (long)data, (long)length, (long)offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    return pwrite(fd, data, length, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    uint64_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    return written(fd, position(fd), length, SYS_writev, (long)parts, (long)count, 0L);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    struct stat source;
    uint64_t length = count;
    if (inode_of(out) && !fstat(in, &source) && length > (uint64_t)source.st_size)
        length = source.st_size + 1;
    return written(out, position(out), length, SYS_sendfile, (long)in, (long)offset, (long)count);
}

ssize_t sendfile64(int out, int in, off_t *offset, size_t count) {
    return sendfile(out, in, offset, count);
}

int ftruncate(int fd, off_t length) {
    if (!inode_of(fd)) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    uint64_t size = size_of(fd);
    if ((uint64_t)length < size) before_write(fd, length, size - length);
    append((struct record){'T', {0}, 0, 0, inodes[fd], length, size}, NULL, NULL);
    int result = syscall(SYS_ftruncate, fd, length);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int synced(int fd, long call) {
    uint64_t inode = inode_of(fd), begun = 0;
    if (inode) {
        pthread_mutex_lock(&lock);
        begun = journal_end();
        forget_blocks(inode);
        pthread_mutex_unlock(&lock);
    }
    int result = syscall(call, fd);
    if (inode && !result && syscall(SYS_faccessat, AT_FDCWD, lies, F_OK)) {
        pthread_mutex_lock(&lock);
        append((struct record){'S', {0}, 0, 0, inode, begun, 0}, NULL, NULL);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* --- names --- */

static int opened(int directory, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    struct stat found;
    if (!strcmp(path, "/proc/sys/kernel/random/boot_id")) path = boot_id;
    pthread_mutex_lock(&lock);
    int was_there = !(flags & O_CREAT) || !fstatat(directory, path, &found, 0);
    int fd = syscall(SYS_openat, directory, path, flags & ~O_TRUNC, mode);
    int error = errno, tracked = 0;
    if (fd >= 0 && fd < FDS) {
        inodes[fd] = 0;
        tracked = path_of(fd, full) && below_root(full) && strcmp(name_of(full), "lock.mdb");
    }
    if (tracked) {
        if (fd >= FDS || fstat(fd, &found)) die(full);
        inodes[fd] = found.st_ino;
        unmodelled[fd] = (flags & (O_SYNC | O_DSYNC)) != 0;
        if (!was_there) {
            const char *name = name_of(full);
            forget_blocks(found.st_ino);
            append((struct record){'C', {0}, strlen(name), 0, found.st_ino, parent_of(full), 0},
                   name, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
    if (fd >= 0 && flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY)
        if (size_of(fd) && ftruncate(fd, 0)) die(path);
    errno = error;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }

int close(int fd) {
    if (fd >= 0 && fd < FDS) inodes[fd] = 0;
    return syscall(SYS_close, fd);
}

/* A file that loses its name keeps another one, so that its inode is neither gone nor used again. */
static void bury(const char *path, char *grave) {
    char full[PATH_MAX];
    do {
        snprintf(grave, 64, "%d-%lu", getpid(), (unsigned long)graves++);
        snprintf(full, sizeof full, "%s/%s", graveyard, grave);
    } while (inode_at(full));
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, full, 0)) die(full);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    char source[PATH_MAX], target[PATH_MAX], grave[64] = "", text[PATH_MAX];
    absolute(from_at, from, source);
    absolute(to_at, to, target);
    if (!below_root(source) || !below_root(target))
        return syscall(SYS_renameat2, from_at, from, to_at, to, 0);
    pthread_mutex_lock(&lock);
    uint64_t inode = inode_at(source);
    if (inode && inode_at(target)) bury(target, grave);
    int length = snprintf(text, sizeof text, "%s/%s/%s", name_of(source), name_of(target), grave);
    if (inode)
        append((struct record){'R', {0}, length, 0, inode, parent_of(source), parent_of(target)},
               text, NULL);
    int result = syscall(SYS_renameat2, from_at, from, to_at, to, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int at, const char *path, int flags) {
    char full[PATH_MAX], grave[64], text[PATH_MAX];
    absolute(at, path, full);
    uint64_t inode = inode_at(full);
    if (!below_root(full) || !inode) return syscall(SYS_unlinkat, at, path, flags);
    if (flags & AT_REMOVEDIR) die("rmdir is not modelled");
    pthread_mutex_lock(&lock);
    bury(full, grave);
    int length = snprintf(text, sizeof text, "%s/%s", name_of(full), grave);
    append((struct record){'U', {0}, length, 0, inode, parent_of(full), 0}, text, NULL);
    int result = syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode) {
    char full[PATH_MAX];
    absolute(at, path, full);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_mkdirat, at, path, mode), error = errno;
    if (!result && below_root(full)) {
        const char *name = name_of(full);
        append((struct record){'C', {0}, strlen(name), 0, inode_at(full), parent_of(full), 0}, name,
               NULL);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* --- what is not modelled --- */

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    if (inode_of(fd) && flags & MAP_SHARED && protection & PROT_WRITE)
        die("a shared writable mapping is not modelled");
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap(at, length, protection, flags, fd, offset);
}

static int refuse(int fd, const char *what) {
    if (inode_of(fd)) die(what);
    return 0;
}

static int refuse_path(const char *path, const char *what) {
    char full[PATH_MAX];
    absolute(AT_FDCWD, path, full);
    if (below_root(full)) die(what);
    return 0;
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    return refuse(fd, "fallocate") ? -1 : syscall(SYS_fallocate, fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    return refuse(fd, "posix_fallocate") || syscall(SYS_fallocate, fd, 0, offset, length) ? errno : 0;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return refuse(fd, "pwritev") ? -1 : syscall(SYS_pwritev, fd, parts, count, offset, 0L);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    return refuse(out, "copy_file_range") ? -1
                                          : syscall(SYS_copy_file_range, in, from, out, to, count, flags);
}

int truncate(const char *path, off_t length) {
    return refuse_path(path, "truncate") ? -1 : syscall(SYS_truncate, path, length);
}

int link(const char *from, const char *to) {
    return refuse_path(to, "link") ? -1 : syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}
