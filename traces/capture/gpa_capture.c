/*
 * A QEMU TCG plugin that writes what a guest does to its memory, for `eptreplay import qemu-plugin`.
 *
 *     -plugin libgpa_capture.so,out=FILE,ram=BYTES,below4g=BYTES,address=ram|physical[,skip=N][,limit=N][,stop=on]
 *
 * out      where the records go; a pipe will do
 * ram      bytes of the guest's memory (-m)
 * below4g  bytes of it below 4 GiB; the rest is at 4 GiB and above
 * address  what this QEMU calls a physical address: `physical` from 8.2 on, before that `ram`, an offset in its RAM
 * skip     accesses before the first that is written (default 0)
 * limit    records written at most (default: no limit)
 * stop     `on`: QEMU is asked to end (SIGTERM) when the limit is reached
 *
 * Memory has to be one memory-backend-memfd, since a fetched instruction is known by its address in this process only: the
 * place of that mapping, out of /proc/self/maps, makes an offset in the guest's RAM of it.
 *
 * A file is a header of 64 bytes, records of 16, and a mark at the end, all little-endian:
 *
 *     header  "EPTRGPA1", record bytes (u32), vCPUs (u32), ram (u64), below4g (u64), zeros
 *     record  time in ns since the first vCPU began, 48 bits | vCPU << 48;  gpa, 48 bits | op << 48 | size << 50
 *     mark    all ones; number of records before it
 *
 * op is 0 read, 1 write, 2 fetch; size is in bytes.  A fetch is one executed translation block, or its part in one page; its
 * size is that of its instructions.  No record goes beyond its page: of an access that does, the part in its first page is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_QEMU_PLUGIN_H
#include <qemu-plugin.h>
#else
#include "qemu_plugin_api.h"
#endif

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define PAGE_BYTES 4096u
#define GIB4 (UINT64_C(1) << 32)
#define ADDRESS_BITS 48
#define SIZE_SHIFT 50
#define NOWHERE UINT64_MAX
#define BUFFER_RECORDS 65536u

enum op { OP_READ = 0, OP_WRITE = 1, OP_FETCH = 2 };

struct record {
    uint64_t when;
    uint64_t what;
};

/* Everything but what the options say is guarded by `lock`. */
static struct {
    pthread_mutex_t lock;
    int fd;
    uint64_t ram;
    uint64_t below4g;
    uint64_t skip;
    uint64_t limit;
    bool offsets;
    bool stop;
    int vcpus;
    const char *ram_begin;
    bool closed;
    uint64_t begin_ns;
    uint64_t accesses;
    uint64_t records;
    uint64_t by_op[3];
    uint64_t io;
    uint64_t elsewhere;
    uint64_t unknown;
    uint64_t straddling;
    uint64_t pages;
    uint8_t *seen;
    size_t filled;
} capture = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .limit = UINT64_MAX};

static struct record buffer[BUFFER_RECORDS];

static void fail(const char *what)
{
    fprintf(stderr, "gpa_capture: %s\n", what);
    _exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put(const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t done = write(capture.fd, at, bytes);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            fail(strerror(errno));
        }
        at += done;
        bytes -= (size_t)done;
    }
}

static void flush_records(void)
{
    put(buffer, capture.filled * sizeof(struct record));
    capture.filled = 0;
}

/* Ends the file.  The caller has the lock. */
static void close_file(void)
{
    struct record mark = {UINT64_MAX, capture.records};

    if (capture.closed) {
        return;
    }
    capture.closed = true;
    flush_records();
    put(&mark, sizeof(mark));
    if (close(capture.fd) != 0) {
        fail(strerror(errno));
    }
}

/* The guest-physical address of an offset in RAM; NOWHERE behind its end, where QEMU keeps ROMs and video memory. */
static uint64_t of_offset(uint64_t offset)
{
    if (offset >= capture.ram) {
        return NOWHERE;
    }
    return offset < capture.below4g ? offset : GIB4 + (offset - capture.below4g);
}

/* The offset in RAM of a guest-physical address; NOWHERE outside. */
static uint64_t offset_of(uint64_t gpa)
{
    if (gpa < capture.below4g) {
        return gpa;
    }
    if (gpa >= GIB4 && gpa - GIB4 < capture.ram - capture.below4g) {
        return capture.below4g + (gpa - GIB4);
    }
    return NOWHERE;
}

/* Writes an access, if the window is open.  The caller has the lock. */
static void add(unsigned int vcpu, uint64_t gpa, enum op op, uint64_t size)
{
    uint64_t room = PAGE_BYTES - gpa % PAGE_BYTES;
    uint64_t page = offset_of(gpa) / PAGE_BYTES;
    struct record *record;

    if (capture.accesses++ < capture.skip || capture.closed) {
        return;
    }
    if (size > room) {
        capture.straddling++;
        size = room;
    }
    record = &buffer[capture.filled++];
    record->when = (now_ns() - capture.begin_ns) | (uint64_t)vcpu << ADDRESS_BITS;
    record->what = gpa | (uint64_t)op << ADDRESS_BITS | size << SIZE_SHIFT;
    capture.by_op[op]++;
    if (!(capture.seen[page / 8] & 1u << page % 8)) {
        capture.seen[page / 8] |= (uint8_t)(1u << page % 8);
        capture.pages++;
    }
    if (capture.filled == BUFFER_RECORDS) {
        flush_records();
    }
    if (++capture.records == capture.limit) {
        close_file();
        if (capture.stop) {
            kill(getpid(), SIGTERM);
        }
    }
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *unused)
{
    struct qemu_plugin_hwaddr *address = qemu_plugin_get_hwaddr(info, vaddr);
    uint64_t gpa = NOWHERE;
    bool io = address != NULL && qemu_plugin_hwaddr_is_io(address);

    (void)unused;
    if (address != NULL && !io) {
        gpa = qemu_plugin_hwaddr_phys_addr(address);
        gpa = capture.offsets ? of_offset(gpa) : offset_of(gpa) == NOWHERE ? NOWHERE : gpa;
    }
    pthread_mutex_lock(&capture.lock);
    if (address == NULL) {
        capture.unknown++;
    } else if (io) {
        capture.io++;
    } else if (gpa == NOWHERE) {
        capture.elsewhere++;
    } else {
        add(vcpu, gpa, qemu_plugin_mem_is_store(info) ? OP_WRITE : OP_READ,
            UINT64_C(1) << qemu_plugin_mem_size_shift(info));
    }
    pthread_mutex_unlock(&capture.lock);
}

static void on_block(unsigned int vcpu, void *where)
{
    uint64_t packed = (uint64_t)(uintptr_t)where;
    uint64_t gpa = packed & ((UINT64_C(1) << ADDRESS_BITS) - 1);

    pthread_mutex_lock(&capture.lock);
    add(vcpu, gpa, OP_FETCH, packed >> ADDRESS_BITS);
    pthread_mutex_unlock(&capture.lock);
}

static void on_block_elsewhere(unsigned int vcpu, void *unused)
{
    (void)vcpu;
    (void)unused;
    pthread_mutex_lock(&capture.lock);
    capture.elsewhere++;
    pthread_mutex_unlock(&capture.lock);
}

/* Finds where guest memory is mapped in this process. */
static void find_ram(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];

    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t begin;
        uint64_t offset;

        if (strstr(line, "/memfd:memory-backend-memfd") != NULL &&
            sscanf(line, "%" SCNxPTR "-%*x %*s %" SCNx64, &begin, &offset) == 2) {
            capture.ram_begin = (const char *)begin - offset;
            break;
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
    if (capture.ram_begin == NULL) {
        fail("guest memory is no memory-backend-memfd; start QEMU with -object memory-backend-memfd,id=ram,size=... "
             "-machine memory-backend=ram");
    }
}

static void on_vcpu(qemu_plugin_id_t id, unsigned int vcpu)
{
    (void)id;
    (void)vcpu;
    pthread_mutex_lock(&capture.lock);
    if (capture.ram_begin == NULL) {
        find_ram();
        capture.begin_ns = now_ns();
    }
    pthread_mutex_unlock(&capture.lock);
}

/* Lets a block tell that it fetches `bytes` bytes of one page. */
static void tell_fetch(struct qemu_plugin_tb *tb, const void *where, uint64_t bytes)
{
    uint64_t offset = (uint64_t)((const char *)where - capture.ram_begin);
    uint64_t gpa = where == NULL || (const char *)where < capture.ram_begin ? NOWHERE : of_offset(offset);

    if (gpa == NOWHERE) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block_elsewhere, QEMU_PLUGIN_CB_NO_REGS, NULL);
    } else {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
                                             (void *)(uintptr_t)(gpa | bytes << ADDRESS_BITS));
    }
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    const void *where = NULL;
    uint64_t page = 0;
    uint64_t bytes = 0;

    (void)id;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t its_page = qemu_plugin_insn_vaddr(insn) / PAGE_BYTES;

        if (i == 0 || its_page != page) {
            if (i > 0) {
                tell_fetch(tb, where, bytes);
            }
            where = qemu_plugin_insn_haddr(insn);
            page = its_page;
            bytes = 0;
        }
        bytes += qemu_plugin_insn_size(insn);
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
    if (count > 0) {
        tell_fetch(tb, where, bytes);
    }
}

static void on_exit_(qemu_plugin_id_t id, void *unused)
{
    (void)id;
    (void)unused;
    pthread_mutex_lock(&capture.lock);
    close_file();
    fprintf(stderr,
            "gpa_capture: records=%" PRIu64 " pages=%" PRIu64 " reads=%" PRIu64 " writes=%" PRIu64 " fetches=%" PRIu64
            " accesses=%" PRIu64 " io=%" PRIu64 " elsewhere=%" PRIu64 " unknown=%" PRIu64 " straddling=%" PRIu64 "\n",
            capture.records, capture.pages, capture.by_op[OP_READ], capture.by_op[OP_WRITE], capture.by_op[OP_FETCH],
            capture.accesses, capture.io, capture.elsewhere, capture.unknown, capture.straddling);
    pthread_mutex_unlock(&capture.lock);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno != 0 || *text == '\0' || *text == '-' || *end != '\0') {
        fail("an option is no number of bytes or records");
    }
    return value;
}

static void take_option(const char *option, const char **out, const char **address)
{
    const char *value = strchr(option, '=');
    size_t length = value == NULL ? strlen(option) : (size_t)(value - option);

    value = value == NULL ? "" : value + 1;
    if (length == 3 && strncmp(option, "out", length) == 0) {
        *out = value;
    } else if (length == 7 && strncmp(option, "address", length) == 0) {
        *address = value;
    } else if (length == 3 && strncmp(option, "ram", length) == 0) {
        capture.ram = number(value);
    } else if (length == 7 && strncmp(option, "below4g", length) == 0) {
        capture.below4g = number(value);
    } else if (length == 4 && strncmp(option, "skip", length) == 0) {
        capture.skip = number(value);
    } else if (length == 5 && strncmp(option, "limit", length) == 0) {
        capture.limit = number(value);
    } else if (length == 4 && strncmp(option, "stop", length) == 0) {
        capture.stop = strcmp(value, "on") == 0;
    } else {
        fail("unknown option; known are out, ram, below4g, address, skip, limit, stop");
    }
}

static void write_header(void)
{
    unsigned char header[64] = "EPTRGPA1";
    uint32_t record_bytes = sizeof(struct record);
    uint32_t vcpus = (uint32_t)capture.vcpus;

    memcpy(header + 8, &record_bytes, 4);
    memcpy(header + 12, &vcpus, 4);
    memcpy(header + 16, &capture.ram, 8);
    memcpy(header + 24, &capture.below4g, 8);
    put(header, sizeof(header));
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    const char *out = "";
    const char *address = "";

    for (int i = 0; i < argc; i++) {
        take_option(argv[i], &out, &address);
    }
    if (!info->system_emulation || strcmp(info->target_name, "x86_64") != 0) {
        fail("only x86_64 system emulation (qemu-system-x86_64) is recorded");
    }
    if (strcmp(address, "ram") != 0 && strcmp(address, "physical") != 0) {
        fail("say what this QEMU calls a physical address: address=physical from 8.2 on, address=ram before");
    }
    if (capture.ram == 0 || capture.below4g > capture.ram || capture.below4g > GIB4 || capture.limit == 0) {
        fail("ram and below4g have to say where memory is, and limit has to be at least 1");
    }
    capture.offsets = strcmp(address, "ram") == 0;
    capture.vcpus = info->system.smp_vcpus;
    capture.seen = calloc(capture.ram / PAGE_BYTES / 8 + 1, 1);
    capture.fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (capture.seen == NULL || capture.fd < 0) {
        fail("the output cannot be opened, or memory is short");
    }
    write_header();
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_, NULL);
    return 0;
}
