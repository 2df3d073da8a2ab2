// A disk that fails: loaded before the C library (LD_PRELOAD), it counts the calls that change something below one
// folder, and makes one of them fail, the disk full from there on, or the process end. Any program can be tried on it,
// whatever it writes its files with. tests/disk_faults.py drives it.

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace {

enum Action { kCount, kFail, kFull, kKill };

char watched[4096];
long at = 0, count = 0;
int action = kCount, error_number = 0;

template <typename Function>
Function real(const char* name, Function) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) real(#name, static_cast<decltype(&name)>(nullptr))

bool below(const char* path) {
  if (watched[0] == 0 || path == nullptr) return false;
  char whole[8192];
  if (path[0] != '/') {
    if (getcwd(whole, 4096) == nullptr) return false;
    const size_t length = strlen(whole);
    std::snprintf(whole + length, sizeof whole - length, "/%s", path);
    path = whole;
  }
  return strncmp(path, watched, strlen(watched)) == 0;
}

bool below(int descriptor) {
  if (watched[0] == 0) return false;
  char name[64], path[4096];
  std::snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = 0;
  return below(static_cast<const char*>(path));
}

[[noreturn]] void die() {
  kill(getpid(), SIGKILL);
  _exit(137);
}

enum class Needs { kSpace, kNothing, kCannotFail };

// Whether a call is to fail, with errno set.
bool fails(Needs needs) {
  count += 1;
  const bool now = count == at;
  if (now && action == kKill) die();
  const bool fail = action == kFull ? count >= at && at > 0 && needs == Needs::kSpace : now && action == kFail;
  if (!fail || needs == Needs::kCannotFail) return false;
  errno = error_number;
  return true;
}

bool changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0; }

Needs needs_of(int flags) { return (flags & O_CREAT) != 0 ? Needs::kSpace : Needs::kNothing; }

// Of a call that writes, half is done before the process ends or the disk is full, as it is where a disk is full.
template <typename Write>
ssize_t write_some(int descriptor, size_t size, Write write) {
  if (!below(descriptor)) return write(size);
  if (count + 1 == at && (action == kKill || action == kFull) && size > 1) {
    const ssize_t half = write(size / 2);
    if (action == kKill) die();
    count += 1;
    return half;
  }
  return fails(Needs::kSpace) ? -1 : write(size);
}

}  // namespace

extern "C" {

void disk_faults_arm(const char* folder, long number, int what, int error) {
  std::snprintf(watched, sizeof watched, "%s", folder);
  at = number, count = 0, action = what, error_number = error;
}

long disk_faults_count() { return count; }

#define OPEN(name)                                                                       \
  int name(const char* path, int flags, ...) {                                           \
    va_list rest;                                                                        \
    va_start(rest, flags);                                                               \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                                        \
    if (changes(flags) && below(path) && fails(needs_of(flags))) return -1;              \
    return REAL(name)(path, flags, mode);                                                \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                     \
  int name(int folder, const char* path, int flags, ...) {                               \
    va_list rest;                                                                        \
    va_start(rest, flags);                                                               \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                                        \
    if (changes(flags) && below(path) && fails(needs_of(flags))) return -1;              \
    return REAL(name)(folder, path, flags, mode);                                        \
  }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void* data, size_t size) {
  return write_some(descriptor, size, [=](size_t some) { return REAL(write)(descriptor, data, some); });
}

ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t where) {
  return write_some(descriptor, size, [=](size_t some) { return REAL(pwrite64)(descriptor, data, some, where); });
}

int fsync(int descriptor) {
  if (below(descriptor) && fails(Needs::kSpace)) return -1;
  return REAL(fsync)(descriptor);
}

int fdatasync(int descriptor) {
  if (below(descriptor) && fails(Needs::kSpace)) return -1;
  return REAL(fdatasync)(descriptor);
}

int rename(const char* from, const char* to) {
  if ((below(from) || below(to)) && fails(Needs::kNothing)) return -1;
  return REAL(rename)(from, to);
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  if ((below(from) || below(to)) && fails(Needs::kNothing)) return -1;
  return REAL(renameat)(from_folder, from, to_folder, to);
}

int link(const char* from, const char* to) {
  if (below(to) && fails(Needs::kSpace)) return -1;
  return REAL(link)(from, to);
}

int unlink(const char* path) {
  if (below(path)) fails(Needs::kCannotFail);
  return REAL(unlink)(path);
}

int truncate64(const char* path, off64_t size) {
  if (below(path) && fails(Needs::kNothing)) return -1;
  return REAL(truncate64)(path, size);
}

int ftruncate64(int descriptor, off64_t size) {
  if (below(descriptor) && fails(Needs::kNothing)) return -1;
  return REAL(ftruncate64)(descriptor, size);
}

int mkdir(const char* path, mode_t mode) {
  if (below(path) && fails(Needs::kSpace)) return -1;
  return REAL(mkdir)(path, mode);
}

}  // extern "C"
