/* A disk whose syncs fail, are slow, or hang: loaded with LD_PRELOAD.
 *
 * In the directory DISK_FAULTS, looked at with each fsync and fdatasync of a path with `/node-` in it:
 *   slow    milliseconds that each sync takes longer
 *   stuck   while it is there, no sync ends
 *   eio     a part of a path: syncs of files and directories below it fail
 *   failed  the paths of the syncs that failed, one a line: written here
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int look(const char *name, char *text, size_t size) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("DISK_FAULTS"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    return 1;
}

static void note(const char *synced) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/failed", getenv("DISK_FAULTS"));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dprintf(fd, "%s\n", synced);
    close(fd);
}

static void wait_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int synced(int fd, long call) {
    char link[64], path[PATH_MAX], text[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (!strstr(path, "/node-")) return syscall(call, fd);
    if (look("slow", text, sizeof text)) wait_ms(atol(text));
    while (look("stuck", text, sizeof text)) wait_ms(10);
    if (look("eio", text, sizeof text) && strstr(path, text)) {
        note(path);
        errno = EIO;
        return -1;
    }
    return syscall(call, fd);
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
