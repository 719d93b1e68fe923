/* A libnvidia-ml.so.1 without a GPU: it answers what a text file says.
 *
 * HPCACCEPT_FAKE_NVML names the file; "{node}" in it becomes $SLURMD_NODENAME, so that every node of a virtual Slurm can
 * have its own. Lines are "system key=value; key=value" (once, first) and "gpu key=value; …" (one for each GPU);
 * tests/support/nvml/build.py writes them. A value "!gpu_is_lost" makes the question for that key fail with that error. When the
 * file is replaced while a program runs (rename, never rewrite), the next question is answered from the new one: so
 * counters rise, Xids come and GPUs fall off the bus.
 *
 * It is strict where a forgiving library would hide a fault of the caller: an unknown key or a number that is none ends
 * the process; calls before nvmlInit, foreign handles, short buffers and structures of another version fail as they do
 * with NVIDIA's. Entry points, sizes and error numbers are those of https://docs.nvidia.com/deploy/nvml-api/ and of
 * nvml.h (NVIDIA/go-nvml, 2f9e261). With -DOLD_DRIVER the functions of drivers after 525 do not exist at all, with
 * -DFABRIC_V2 the fabric is told in its second form only (drivers before 575).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_GPUS 64
#define MAX_MIG 7
#define MAX_LINE 4096
#define EXPORT __attribute__((visibility("default")))

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10, GPU_IS_LOST = 15, ARGUMENT_VERSION_MISMATCH = 25
};

static const struct { const char *name; int code; } ERRORS[] = {
    {"uninitialized", UNINITIALIZED}, {"invalid_argument", INVALID_ARGUMENT}, {"not_supported", NOT_SUPPORTED}, {"no_permission", 4},
    {"not_found", NOT_FOUND}, {"insufficient_size", INSUFFICIENT_SIZE}, {"insufficient_power", 8},
    {"driver_not_loaded", 9}, {"timeout", TIMEOUT}, {"operating_system", 17}, {"gpu_not_found", 28},
    {"irq_issue", 11}, {"function_not_found", 13}, {"corrupted_inforom", 14}, {"gpu_is_lost", GPU_IS_LOST},
    {"reset_required", 16}, {"lib_rm_version_mismatch", 18}, {"memory", 20}, {"no_data", 21},
    {"argument_version_mismatch", ARGUMENT_VERSION_MISMATCH}, {"deprecated", 26}, {"unknown", 999},
};

/* Keys of a GPU: those without a default must be given. "state": ok, lost (cannot be opened), lost_later (opened, then
 * silent), or an error on opening. "a/b" are several numbers of one question. What the default says is a healthy H100
 * under load. */
enum {
    STATE, NAME, UUID, SERIAL, PCI_BUS_ID, VBIOS, MEMORY_BYTES, POWER_LIMIT_MW, ECC_MODE, MIG_MODE, MIG_UUIDS,
    PERSISTENCE, PCIE_GEN_MAX, PCIE_WIDTH_MAX,
    LOST_AFTER, ECC_VOLATILE, ECC_AGGREGATE, SRAM, REMAPS, REMAP_BANKS, RETIRED, RETIRED_PENDING, PCIE_GEN, PCIE_WIDTH,
    PCIE_REPLAYS, NVLINKS, NVLINK_VERSION, NVLINK_ERRORS, CLOCK_MHZ, CLOCK_MAX_MHZ, REASONS, TEMPERATURE_C, SLOWDOWN_C,
    SHUTDOWN_C, POWER_MW, POWER_DEFAULT_MW, ENERGY_MJ, MEMORY_USED, MEMORY_RESERVED, PROCESSES, EVENTS, XIDS, FABRIC,
    FABRIC_HEALTH, VIOLATIONS_NS, RECOVERY_ACTION, NVLINK_REMOTES, TOPOLOGY, MARGIN_C, SLOWDOWN_LIMIT_C, MEMORY_C,
    MEMORY_MAX_C, C2C_LINKS, NUMA_NODE, FABRIC_STATUS, FABRIC_SUMMARY, FABRIC_CLUSTER, FABRIC_CLIQUE, XIDS_OF, CUDA, GPU_KEYS
};
static const struct { const char *name, *normal; } GPU_KEY[GPU_KEYS] = {
    {"state", 0}, {"name", 0}, {"uuid", 0}, {"serial", 0}, {"pci_bus_id", 0}, {"vbios", 0}, {"memory_bytes", 0},
    {"power_limit_mw", 0}, {"ecc_mode", 0}, {"mig_mode", 0}, {"mig_uuids", 0}, {"persistence", 0}, {"pcie_gen_max", 0},
    {"pcie_width_max", 0},
    {"lost_after", "0"},                     /* questions that are answered before the GPU is lost; 0: it stays */
    {"ecc_volatile", "0/0"},                 /* corrected/uncorrected, since the driver was loaded */
    {"ecc_aggregate", "0/0"},                /* likewise, in the life of the part */
    {"sram", "0/0/0"},                       /* corrected/uncorrected/threshold exceeded */
    {"remaps", "0/0/0/0"},                   /* corrected/uncorrected/pending/failure */
    {"remap_banks", "640/0/0/0/0"},          /* max/high/partial/low/none */
    {"retired", "!not_supported"},           /* pages for corrected/uncorrected errors: GPUs before Ampere */
    {"retired_pending", "!not_supported"},
    {"pcie_gen", "5"}, {"pcie_width", "16"}, {"pcie_replays", "0"},
    {"nvlinks", "111111111111111111"},       /* one digit for each link, 1: active, 0: down, -: fused off */
    {"nvlink_version", "4"},
    {"nvlink_errors", ""},                   /* link:counter:count, …; counters as in NVLINK_COUNTER */
    {"clock_mhz", "1755"}, {"clock_max_mhz", "1980"},
    {"reasons", "0x4"},                      /* the mask of clock event reasons */
    {"temperature_c", "62"}, {"slowdown_c", "87"}, {"shutdown_c", "92"},
    {"power_mw", "650000"}, {"power_default_mw", "700000"},
    {"energy_mj", "0"},                      /* grows with power_mw */
    {"memory_used", "4194304"}, {"memory_reserved", "567279616"},
    {"processes", ""},                       /* pid:bytes:name, … */
    {"events", "enabled"},                   /* or the error of registering for them */
    {"xids", ""},                            /* those behind the ones that stood here at registration are events */
    {"fabric", "completed"},                 /* not_supported, not_started, in_progress, completed */
    {"fabric_health", "0"},
    {"violations_ns", "0/0/0/0/0/0/0/0"},    /* power/thermal/sync boost/board/low use/reliability/app/base clocks */
    {"recovery_action", "0"},
    {"nvlink_remotes", "00000000:C5:00.0"},  /* PCI address at the far end of each link, with commas; one for all of them */
    {"topology", "50"},                      /* nvmlGpuTopologyLevel_t to every other GPU */
    {"margin_c", "25"},                      /* distance to the limit that is not told, "-3" beyond it */
    {"slowdown_limit_c", "-2"},              /* where the slowdown lies on that scale */
    {"memory_temperature_c", "71"}, {"memory_max_c", "95"},
    {"c2c_links", "0"},                      /* coherent links to the CPU: GH200, GB200 */
    {"numa_node", "!not_supported"},         /* that the memory is, likewise */
    {"fabric_status", "0"},                  /* means something where the fabric is completed */
    {"fabric_summary", "1"},                 /* 0: not supported, 1: healthy, 2: unhealthy, 3: limited capacity */
    {"fabric_cluster", "0"},                 /* its last byte; 0 in all of them where no other node is in the fabric */
    {"fabric_clique", "0"},
    {"xids_of", ""},                         /* index of the GPU whose handle the events carry; empty: this one */
    {"cuda", "0"},                           /* what CUDA says when it is started: cuda.c reads it */
};
/* Keys of the system. */
enum { INIT, COUNT, DRIVER, CUDA_DRIVER, CONFIDENTIAL, SYSTEM_KEYS };
static const struct { const char *name, *normal; } SYSTEM_KEY[SYSTEM_KEYS] = {
    {"init", 0}, {"count", 0}, {"driver", 0}, {"cuda_driver", 0},
    {"confidential", "0/0/0/1"}, /* feature on/environment/developer tools/the GPUs accept work */
};

struct handle { struct gpu *gpu; int mig; }; /* mig is -1 for the GPU itself */
struct gpu { const char *value[GPU_KEYS]; struct handle self, mig[MAX_MIG]; unsigned asked; };
struct pci { char old_bus_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char bus_id[32]; };
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

static struct gpu gpus[MAX_GPUS];
static const char *system_value[SYSTEM_KEYS];
static unsigned gpu_count;
static int opened;
static struct stat read_at;
static struct timespec started_at;
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;

/* --- the text file --- */

static void die(const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    fputs("stand-in NVML: ", stderr);
    vfprintf(stderr, format, rest);
    fputc('\n', stderr);
    va_end(rest);
    abort();
}

static char *trim(char *text)
{
    while (*text == ' ')
        text++;
    for (char *end = text + strlen(text); end > text && (end[-1] == ' ' || end[-1] == '\n'); )
        *--end = 0;
    return text;
}

/* Texts are never freed: another thread may be reading the old ones. */
#define READ_PAIRS(text, keys, values, count) read_pairs(strdup(text), &(keys)[0].name, values, count)

static void read_pairs(char *text, const char *const *keys, const char **values, int count)
{
    const char *found[GPU_KEYS] = {0};
    char *rest = NULL;
    for (char *pair = strtok_r(text, ";", &rest); pair; pair = strtok_r(NULL, ";", &rest)) {
        char *equals = strchr(pair, '=');
        if (!equals)
            die("found '%s', expected key=value", pair);
        *equals = 0;
        char *key = trim(pair);
        int n = 0;
        while (n < count && strcmp(keys[2 * n], key))
            n++;
        if (n == count)
            die("unknown key '%s'", key);
        if (found[n])
            die("key '%s' stands twice", key);
        found[n] = trim(equals + 1);
    }
    for (int n = 0; n < count; n++) {
        if (!found[n] && !keys[2 * n + 1])
            die("key '%s' is missing", keys[2 * n]);
        values[n] = found[n] ? found[n] : keys[2 * n + 1];
    }
}

/* The path of the description: "{node}" becomes the name of the node. */
static const char *description(char *path, size_t size)
{
    const char *given = getenv("HPCACCEPT_FAKE_NVML"), *node = getenv("SLURMD_NODENAME");
    const char *place = given ? strstr(given, "{node}") : NULL;
    if (!given)
        die("HPCACCEPT_FAKE_NVML is not set");
    if (place && !node)
        die("HPCACCEPT_FAKE_NVML=%s needs SLURMD_NODENAME, which is not set", given);
    if (place)
        snprintf(path, size, "%.*s%s%s", (int)(place - given), given, node, place + strlen("{node}"));
    else
        snprintf(path, size, "%s", given);
    return path;
}

static void read_file(void)
{
    char path[MAX_LINE], line[MAX_LINE];
    FILE *file = fopen(description(path, sizeof path), "r");
    unsigned count = 0;
    int systems = 0;
    if (!file || fstat(fileno(file), &read_at))
        die("HPCACCEPT_FAKE_NVML=%s cannot be read", path);
    while (fgets(line, sizeof line, file)) {
        if (!strncmp(line, "system ", 7)) {
            READ_PAIRS(line + 7, SYSTEM_KEY, system_value, SYSTEM_KEYS);
            systems++;
        } else if (!strncmp(line, "gpu ", 4)) {
            if (count == MAX_GPUS)
                die("more than %d GPUs", MAX_GPUS);
            struct gpu *gpu = &gpus[count++];
            READ_PAIRS(line + 4, GPU_KEY, gpu->value, GPU_KEYS);
            gpu->self = (struct handle){gpu, -1};
            for (int n = 0; n < MAX_MIG; n++)
                gpu->mig[n] = (struct handle){gpu, n};
        } else {
            die("found the line '%s', expected 'system …' or 'gpu …'", trim(line));
        }
    }
    fclose(file);
    if (systems != 1)
        die("%s has %d lines 'system …', expected one", path, systems);
    gpu_count = count;
}

/* Read it again when it was replaced. */
static void look_again(void)
{
    char path[MAX_LINE];
    struct stat now;
    pthread_mutex_lock(&reading);
    if (stat(description(path, sizeof path), &now))
        die("%s is gone", path);
    if (now.st_ino != read_at.st_ino || now.st_mtim.tv_sec != read_at.st_mtim.tv_sec
        || now.st_mtim.tv_nsec != read_at.st_mtim.tv_nsec)
        read_file();
    pthread_mutex_unlock(&reading);
}

/* The error that a value stands for, or SUCCESS. */
static int error_in(const char *value)
{
    if (value[0] != '!')
        return SUCCESS;
    for (size_t n = 0; n < sizeof ERRORS / sizeof *ERRORS; n++)
        if (!strcmp(ERRORS[n].name, value + 1))
            return ERRORS[n].code;
    die("unknown error '%s'", value);
    return SUCCESS;
}

static unsigned long long number_in(const char *value)
{
    char *end;
    unsigned long long number = strtoull(value, &end, 0);
    if (!*value || *end)
        die("found '%s', expected a number", value);
    return number;
}

/* The numbers in "a/b/c", which must be as many as the question has. */
static void numbers_in(const char *value, unsigned long long *numbers, int count)
{
    char words[MAX_LINE], *rest = strcpy(words, value);
    for (int n = 0; n < count; n++) {
        char *word = strsep(&rest, "/");
        if (!word)
            die("found '%s', expected %d numbers", value, count);
        numbers[n] = number_in(word);
    }
    if (rest)
        die("found '%s', expected %d numbers", value, count);
}

static unsigned switch_in(const char *value)
{
    if (strcmp(value, "enabled") && strcmp(value, "disabled"))
        die("found '%s', expected enabled or disabled", value);
    return !strcmp(value, "enabled");
}

/* --- what all questions share --- */

static int copy(const char *value, char *buffer, unsigned size)
{
    if (!buffer)
        return INVALID_ARGUMENT;
    if (strlen(value) + 1 > size)
        return INSUFFICIENT_SIZE;
    strcpy(buffer, value);
    return SUCCESS;
}

static int is_lost(const struct gpu *gpu)
{
    unsigned long long lost_after = number_in(gpu->value[LOST_AFTER]);
    return !strcmp(gpu->value[STATE], "lost_later") || !strcmp(gpu->value[STATE], "lost")
           || (lost_after && gpu->asked > lost_after);
}

/* Looks up the value of a key; SUCCESS only when the question may be answered. */
static int look_up(const struct handle *handle, int key, const void *out, const char **value)
{
    if (!opened)
        return UNINITIALIZED;
    unsigned n = 0;
    while (n < gpu_count && (!handle || (char *)handle < (char *)&gpus[n] || (char *)handle >= (char *)(&gpus[n] + 1)))
        n++;
    if (n == gpu_count || !out || (handle->mig >= 0 && key != UUID))
        return INVALID_ARGUMENT;
    look_again();
    gpus[n].asked++;
    if (is_lost(&gpus[n]))
        return GPU_IS_LOST;
    *value = gpus[n].value[key];
    return error_in(*value);
}

static int ask_text(const struct handle *handle, int key, char *buffer, unsigned size)
{
    const char *value;
    int code = look_up(handle, key, buffer, &value);
    return code ? code : copy(value, buffer, size);
}

static int ask_number(const struct handle *handle, int key, unsigned *number)
{
    const char *value;
    int code = look_up(handle, key, number, &value);
    if (!code)
        *number = (unsigned)number_in(value);
    return code;
}

/* "enabled", or "enabled>disabled" where another mode is pending. */
static int ask_mode(const struct handle *handle, int key, unsigned *now, unsigned *pending)
{
    const char *value;
    char first[32];
    int code = look_up(handle, key, now, &value);
    if (code)
        return code;
    if (!pending)
        return INVALID_ARGUMENT;
    const char *arrow = strchr(value, '>');
    snprintf(first, sizeof first, "%.*s", (int)strcspn(value, ">"), value);
    *now = switch_in(first);
    *pending = switch_in(arrow ? arrow + 1 : value);
    return SUCCESS;
}

/* The name of one MIG instance: the n-th word between commas, where an empty word is a hole. */
static int mig_uuid(const struct handle *handle, char *buffer, unsigned size)
{
    char words[MAX_LINE];
    char *rest = strcpy(words, handle->gpu->value[MIG_UUIDS]);
    for (int n = 0; n < handle->mig && rest; n++)
        strsep(&rest, ",");
    const char *word = rest ? strsep(&rest, ",") : "";
    return *word ? copy(word, buffer, size) : NOT_FOUND;
}

/* --- entry points: the library --- */

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    if (flags)
        die("nvmlInitWithFlags(%u): no flags are known here", flags);
    pthread_mutex_lock(&reading);
    if (!opened)
        clock_gettime(CLOCK_MONOTONIC, &started_at);
    read_file();
    pthread_mutex_unlock(&reading);
    int code = error_in(system_value[INIT]);
    opened += code == SUCCESS;
    return code;
}

EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

EXPORT int nvmlShutdown(void)
{
    if (!opened)
        return UNINITIALIZED;
    opened--;
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(int code)
{
    for (size_t n = 0; n < sizeof ERRORS / sizeof *ERRORS; n++)
        if (ERRORS[n].code == code)
            return ERRORS[n].name;
    return code ? "an error without a name" : "success";
}

EXPORT int nvmlSystemGetDriverVersion(char *buffer, unsigned size)
{
    int code = opened ? error_in(system_value[DRIVER]) : UNINITIALIZED;
    return code ? code : copy(system_value[DRIVER], buffer, size);
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *number)
{
    int code = opened ? error_in(system_value[CUDA_DRIVER]) : UNINITIALIZED;
    if (!code && !number)
        return INVALID_ARGUMENT;
    if (!code)
        *number = (int)number_in(system_value[CUDA_DRIVER]);
    return code;
}

/* --- entry points: the GPUs --- */

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    int code = opened ? error_in(system_value[COUNT]) : UNINITIALIZED;
    if (!code && !count)
        return INVALID_ARGUMENT;
    if (!code)
        *count = gpu_count;
    return code;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct handle **handle)
{
    if (!opened)
        return UNINITIALIZED;
    if (index >= gpu_count || !handle)
        return INVALID_ARGUMENT;
    look_again();
    const char *state = gpus[index].value[STATE];
    if (!strcmp(state, "lost"))
        return GPU_IS_LOST;
    int code = error_in(state);
    if (!code && strcmp(state, "ok") && strcmp(state, "lost_later"))
        die("found state=%s, expected ok, lost, lost_later or !error", state);
    if (!code)
        *handle = &gpus[index].self;
    return code;
}

EXPORT int nvmlDeviceGetName(struct handle *gpu, char *buffer, unsigned size) { return ask_text(gpu, NAME, buffer, size); }

EXPORT int nvmlDeviceGetUUID(struct handle *gpu, char *buffer, unsigned size)
{
    const char *value;
    int code = look_up(gpu, UUID, buffer, &value);
    if (code)
        return code;
    return gpu->mig >= 0 ? mig_uuid(gpu, buffer, size) : copy(value, buffer, size);
}

EXPORT int nvmlDeviceGetSerial(struct handle *gpu, char *buffer, unsigned size)
{
    return ask_text(gpu, SERIAL, buffer, size);
}

EXPORT int nvmlDeviceGetVbiosVersion(struct handle *gpu, char *buffer, unsigned size)
{
    return ask_text(gpu, VBIOS, buffer, size);
}

EXPORT int nvmlDeviceGetPciInfo_v3(struct handle *gpu, struct pci *pci)
{
    const char *value;
    int code = look_up(gpu, PCI_BUS_ID, pci, &value);
    if (code)
        return code;
    memset(pci, 0, sizeof *pci);
    if (sscanf(value, "%x:%x:%x.0", &pci->domain, &pci->bus, &pci->device) != 3)
        die("found '%s', expected a bus id like 00000000:18:00.0", value);
    snprintf(pci->old_bus_id, sizeof pci->old_bus_id, "%04x:%02x:%02x.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    return copy(value, pci->bus_id, sizeof pci->bus_id);
}

EXPORT int nvmlDeviceGetMemoryInfo(struct handle *gpu, struct memory *memory)
{
    const char *value;
    int code = look_up(gpu, MEMORY_BYTES, memory, &value);
    if (code)
        return code;
    /* The old form counts what the driver keeps for itself as used. */
    unsigned long long total = number_in(value), used = number_in(gpu->gpu->value[MEMORY_USED])
                                                        + number_in(gpu->gpu->value[MEMORY_RESERVED]);
    *memory = (struct memory){total, total - used, used};
    return SUCCESS;
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(struct handle *gpu, unsigned *milliwatt)
{
    return ask_number(gpu, POWER_LIMIT_MW, milliwatt);
}

EXPORT int nvmlDeviceGetEccMode(struct handle *gpu, unsigned *now, unsigned *pending)
{
    return ask_mode(gpu, ECC_MODE, now, pending);
}

EXPORT int nvmlDeviceGetMigMode(struct handle *gpu, unsigned *now, unsigned *pending)
{
    return ask_mode(gpu, MIG_MODE, now, pending);
}

EXPORT int nvmlDeviceGetPersistenceMode(struct handle *gpu, unsigned *on)
{
    unsigned pending;
    return ask_mode(gpu, PERSISTENCE, on, &pending);
}

EXPORT int nvmlDeviceGetMaxPcieLinkGeneration(struct handle *gpu, unsigned *generation)
{
    return ask_number(gpu, PCIE_GEN_MAX, generation);
}

EXPORT int nvmlDeviceGetMaxPcieLinkWidth(struct handle *gpu, unsigned *lanes)
{
    return ask_number(gpu, PCIE_WIDTH_MAX, lanes);
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(struct handle *gpu, unsigned *count)
{
    unsigned on, pending;
    const char *value;
    int code = look_up(gpu, MIG_UUIDS, count, &value);
    if (!code)
        code = ask_mode(gpu, MIG_MODE, &on, &pending);
    if (!code)
        *count = on ? MAX_MIG : 0;
    return code;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(struct handle *gpu, unsigned index, struct handle **instance)
{
    const char *value;
    char name[96];
    int code = look_up(gpu, MIG_UUIDS, instance, &value);
    if (code)
        return code;
    if (index >= MAX_MIG)
        return INVALID_ARGUMENT;
    code = mig_uuid(&gpu->gpu->mig[index], name, sizeof name);
    if (!code)
        *instance = &gpu->gpu->mig[index];
    return code;
}

/* --- entry points: health --- */

/* Looks up several numbers of one question. */
static int ask_numbers(const struct handle *gpu, int key, const void *out, unsigned long long *numbers, int count)
{
    const char *value;
    int code = look_up(gpu, key, out, &value);
    if (!code)
        numbers_in(value, numbers, count);
    return code;
}

EXPORT int nvmlDeviceGetTotalEccErrors(struct handle *gpu, unsigned type, unsigned counter, unsigned long long *count)
{
    unsigned long long both[2];
    if (type > 1 || counter > 1)
        return INVALID_ARGUMENT;
    int code = ask_numbers(gpu, counter ? ECC_AGGREGATE : ECC_VOLATILE, count, both, 2);
    if (!code)
        *count = both[type];
    return code;
}

EXPORT int nvmlDeviceGetRemappedRows(struct handle *gpu, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failure)
{
    unsigned long long all[4];
    if (!corrected || !uncorrected || !pending || !failure)
        return INVALID_ARGUMENT;
    int code = ask_numbers(gpu, REMAPS, corrected, all, 4);
    if (!code)
        *corrected = all[0], *uncorrected = all[1], *pending = all[2], *failure = all[3];
    return code;
}

EXPORT int nvmlDeviceGetRowRemapperHistogram(struct handle *gpu, unsigned *banks)
{
    unsigned long long all[5];
    int code = ask_numbers(gpu, REMAP_BANKS, banks, all, 5);
    for (int n = 0; n < 5 && !code; n++)
        banks[n] = (unsigned)all[n];
    return code;
}

EXPORT int nvmlDeviceGetRetiredPages_v2(struct handle *gpu, unsigned cause, unsigned *count,
                                        unsigned long long *addresses, unsigned long long *times)
{
    unsigned long long both[2];
    if (cause > 1)
        return INVALID_ARGUMENT;
    int code = ask_numbers(gpu, RETIRED, count, both, 2);
    if (code)
        return code;
    unsigned room = *count, pages = *count = (unsigned)both[cause];
    if (room < pages)
        return INSUFFICIENT_SIZE;
    for (unsigned n = 0; n < pages; n++) {
        if (!addresses || !times)
            return INVALID_ARGUMENT;
        addresses[n] = 0x1000ull * (n + 1);
        times[n] = 0;
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetRetiredPagesPendingStatus(struct handle *gpu, unsigned *pending)
{
    unsigned later;
    return ask_mode(gpu, RETIRED_PENDING, pending, &later);
}

EXPORT int nvmlDeviceGetCurrPcieLinkGeneration(struct handle *gpu, unsigned *generation)
{
    return ask_number(gpu, PCIE_GEN, generation);
}

EXPORT int nvmlDeviceGetCurrPcieLinkWidth(struct handle *gpu, unsigned *lanes) { return ask_number(gpu, PCIE_WIDTH, lanes); }

EXPORT int nvmlDeviceGetPcieReplayCounter(struct handle *gpu, unsigned *replays)
{
    return ask_number(gpu, PCIE_REPLAYS, replays);
}

/* --- NVLink --- */

static int ask_link(struct handle *gpu, unsigned link, const void *out, unsigned *active)
{
    const char *value;
    int code = look_up(gpu, NVLINKS, out, &value);
    if (code)
        return code;
    if (!*value)
        return NOT_SUPPORTED;
    if (link >= strlen(value))
        return INVALID_ARGUMENT;
    if (value[link] == '-')
        return NOT_SUPPORTED;
    *active = value[link] == '1';
    return SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkState(struct handle *gpu, unsigned link, unsigned *active)
{
    return ask_link(gpu, link, active, active);
}

EXPORT int nvmlDeviceGetNvLinkVersion(struct handle *gpu, unsigned link, unsigned *version)
{
    unsigned active;
    int code = ask_link(gpu, link, version, &active);
    return code ? code : ask_number(gpu, NVLINK_VERSION, version);
}

EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(struct handle *gpu, unsigned link, struct pci *pci)
{
    unsigned active;
    const char *value;
    int code = ask_link(gpu, link, pci, &active);
    if (!code)
        code = look_up(gpu, NVLINK_REMOTES, pci, &value);
    if (code)
        return code;
    if (!active)
        return NOT_SUPPORTED;
    char words[MAX_LINE], *rest = strcpy(words, value), *word = strsep(&rest, ",");
    for (unsigned n = 0; n < link && rest; n++)
        word = strsep(&rest, ",");
    memset(pci, 0, sizeof *pci);
    return copy(trim(word), pci->bus_id, sizeof pci->bus_id);
}

EXPORT int nvmlDeviceGetTopologyCommonAncestor(struct handle *gpu, struct handle *other, unsigned *level)
{
    const char *value;
    int code = look_up(other, TOPOLOGY, level, &value);
    return code ? code : ask_number(gpu, TOPOLOGY, level);
}

/* "link:counter:count, …" */
static unsigned long long link_errors(const char *value, unsigned link, const char *counter)
{
    char words[MAX_LINE], *rest = strcpy(words, value), *word;
    while ((word = strsep(&rest, ","))) {
        char name[32];
        unsigned which;
        unsigned long long count;
        if (*word && sscanf(word, " %u:%31[a-z_]:%llu", &which, name, &count) != 3)
            die("found '%s', expected link:counter:count", word);
        if (*word && which == link && !strcmp(name, counter))
            return count;
    }
    return 0;
}

EXPORT int nvmlDeviceGetNvLinkErrorCounter(struct handle *gpu, unsigned link, unsigned counter, unsigned long long *count)
{
    static const char *const COUNTER[] = {"replay", "recovery", "crc_flit", "crc_data"};
    unsigned active;
    const char *value;
    int code = ask_link(gpu, link, count, &active);
    if (!code)
        code = look_up(gpu, NVLINK_ERRORS, count, &value);
    if (code)
        return code;
    if (counter >= sizeof COUNTER / sizeof *COUNTER)
        return counter == 4 ? NOT_SUPPORTED : INVALID_ARGUMENT;
    if (number_in(gpu->gpu->value[NVLINK_VERSION]) >= 5)
        return NOT_SUPPORTED; /* the fifth generation counts in fields */
    *count = link_errors(value, link, COUNTER[counter]);
    return SUCCESS;
}

/* --- clocks, heat, power --- */

EXPORT int nvmlDeviceGetClockInfo(struct handle *gpu, unsigned which, unsigned *mhz)
{
    return which > 3 ? INVALID_ARGUMENT : ask_number(gpu, CLOCK_MHZ, mhz);
}

EXPORT int nvmlDeviceGetMaxClockInfo(struct handle *gpu, unsigned which, unsigned *mhz)
{
    return which > 3 ? INVALID_ARGUMENT : ask_number(gpu, CLOCK_MAX_MHZ, mhz);
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(struct handle *gpu, unsigned long long *mask)
{
    return ask_numbers(gpu, REASONS, mask, mask, 1);
}

EXPORT int nvmlDeviceGetViolationStatus(struct handle *gpu, unsigned policy, unsigned long long *times)
{
    unsigned long long all[8];
    if (policy > 11 || (policy > 5 && policy < 10))
        return INVALID_ARGUMENT;
    int code = ask_numbers(gpu, VIOLATIONS_NS, times, all, 8);
    if (!code)
        times[0] = (unsigned long long)time(NULL) * 1000000, times[1] = all[policy < 6 ? policy : policy - 4];
    return code;
}

EXPORT int nvmlDeviceGetTemperature(struct handle *gpu, unsigned sensor, unsigned *celsius)
{
    return sensor ? INVALID_ARGUMENT : ask_number(gpu, TEMPERATURE_C, celsius);
}

EXPORT int nvmlDeviceGetTemperatureThreshold(struct handle *gpu, unsigned which, unsigned *celsius)
{
    if (which > 7)
        return INVALID_ARGUMENT;
    static const int KEY[] = {SHUTDOWN_C, SLOWDOWN_C, MEMORY_MAX_C};
    return which > 2 ? NOT_SUPPORTED : ask_number(gpu, KEY[which], celsius);
}

EXPORT int nvmlDeviceGetPowerUsage(struct handle *gpu, unsigned *milliwatt) { return ask_number(gpu, POWER_MW, milliwatt); }

EXPORT int nvmlDeviceGetPowerManagementDefaultLimit(struct handle *gpu, unsigned *milliwatt)
{
    return ask_number(gpu, POWER_DEFAULT_MW, milliwatt);
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(struct handle *gpu, unsigned long long *millijoule)
{
    struct timespec now;
    int code = ask_numbers(gpu, ENERGY_MJ, millijoule, millijoule, 1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - started_at.tv_sec) + 1e-9 * (double)(now.tv_nsec - started_at.tv_nsec);
    if (!code && gpu->gpu->value[POWER_MW][0] != '!')
        *millijoule += (unsigned long long)(seconds * (double)number_in(gpu->gpu->value[POWER_MW]));
    return code;
}

/* --- processes --- */

struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };

EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(struct handle *gpu, unsigned *count, struct process *found)
{
    const char *value;
    int code = look_up(gpu, PROCESSES, count, &value);
    if (code)
        return code;
    char words[MAX_LINE], *rest = strcpy(words, value), *word;
    unsigned room = *count;
    *count = 0;
    while ((word = strsep(&rest, ","))) {
        struct process one = {0, 0, ~0u, ~0u};
        if (!*word)
            continue;
        if (sscanf(word, " %u:%llu:", &one.pid, &one.used) != 2)
            die("found '%s', expected pid:bytes:name", word);
        if (*count < room && found)
            found[*count] = one;
        ++*count;
    }
    return *count > room ? INSUFFICIENT_SIZE : SUCCESS;
}

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned size)
{
    char wanted[32];
    if (!opened)
        return UNINITIALIZED;
    snprintf(wanted, sizeof wanted, "%u:", pid);
    for (unsigned n = 0; n < gpu_count; n++) {
        char words[MAX_LINE], *rest = strcpy(words, gpus[n].value[PROCESSES]), *word;
        while ((word = strsep(&rest, ",")))
            if (!strncmp(word, wanted, strlen(wanted)) && strchr(word + strlen(wanted), ':'))
                return copy(strrchr(word, ':') + 1, name, size);
    }
    return NOT_FOUND;
}

/* --- events --- */

#define XID_CRITICAL_ERROR 0x8ull
struct events { struct handle *gpu[MAX_GPUS]; unsigned told[MAX_GPUS], count; };
struct event { struct handle *gpu; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

/* How many Xids the list holds; the one at place "which" goes to "code". */
static unsigned xids(const char *value, unsigned which, unsigned long long *code)
{
    char words[MAX_LINE], *rest = strcpy(words, value), *word;
    unsigned count = 0;
    while ((word = strsep(&rest, ",")))
        if (*word && count++ == which)
            *code = number_in(word);
    return count;
}

EXPORT int nvmlEventSetCreate(struct events **set)
{
    if (!opened)
        return UNINITIALIZED;
    if (!set)
        return INVALID_ARGUMENT;
    *set = calloc(1, sizeof **set);
    return SUCCESS;
}

EXPORT int nvmlDeviceRegisterEvents(struct handle *gpu, unsigned long long types, struct events *set)
{
    const char *value;
    unsigned long long none;
    int code = look_up(gpu, EVENTS, set, &value);
    if (code)
        return code;
    if (types != XID_CRITICAL_ERROR || set->count == MAX_GPUS)
        return NOT_SUPPORTED;
    set->gpu[set->count] = gpu;
    set->told[set->count++] = xids(gpu->gpu->value[XIDS], 0, &none);
    return SUCCESS;
}

EXPORT int nvmlEventSetWait_v2(struct events *set, struct event *event, unsigned timeout_ms)
{
    if (!opened)
        return UNINITIALIZED;
    if (!set || !event)
        return INVALID_ARGUMENT;
    for (unsigned waited = 0;; waited += 2) {
        for (unsigned n = 0; n < set->count; n++) {
            unsigned long long code = 0;
            look_again();
            if (xids(set->gpu[n]->gpu->value[XIDS], set->told[n], &code) > set->told[n]) {
                set->told[n]++;
                const char *of = set->gpu[n]->gpu->value[XIDS_OF];
                struct handle *gpu = *of ? &gpus[number_in(of)].self : set->gpu[n];
                *event = (struct event){gpu, XID_CRITICAL_ERROR, code, ~0u, ~0u};
                return SUCCESS;
            }
            if (is_lost(set->gpu[n]->gpu))
                return GPU_IS_LOST;
        }
        if (waited >= timeout_ms)
            return TIMEOUT;
        usleep(2000);
    }
}

EXPORT int nvmlEventSetFree(struct events *set)
{
    if (!set)
        return INVALID_ARGUMENT;
    free(set);
    return SUCCESS;
}

/* --- what a driver of before 2023 does not have --- */

#ifndef OLD_DRIVER

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(struct handle *gpu, unsigned long long *mask)
{
    return nvmlDeviceGetCurrentClocksThrottleReasons(gpu, mask);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(struct handle *gpu, unsigned *count, struct process *found)
{
    return nvmlDeviceGetComputeRunningProcesses_v2(gpu, count, found);
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(struct handle *gpu, struct memory_v2 *memory)
{
    const char *value;
    int code = look_up(gpu, MEMORY_BYTES, memory, &value);
    if (code)
        return code;
    if (memory->version != (sizeof *memory | 2u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    unsigned long long total = number_in(value), used = number_in(gpu->gpu->value[MEMORY_USED]),
                       reserved = number_in(gpu->gpu->value[MEMORY_RESERVED]);
    *memory = (struct memory_v2){memory->version, total, reserved, total - used - reserved, used};
    return SUCCESS;
}

struct sram {
    unsigned version;
    unsigned long long total_parity, total_secded, total_corrected, parity, secded, corrected, l2, sm, pcie, mcu, other;
    unsigned threshold_exceeded;
};

EXPORT int nvmlDeviceGetSramEccErrorStatus(struct handle *gpu, struct sram *sram)
{
    unsigned long long all[3];
    int code = ask_numbers(gpu, SRAM, sram, all, 3);
    if (code)
        return code;
    if (sram->version != (sizeof *sram | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    *sram = (struct sram){.version = sram->version, .corrected = all[0], .secded = all[1], .total_corrected = all[0],
                          .total_secded = all[1], .threshold_exceeded = (unsigned)all[2]};
    return SUCCESS;
}

/* A third version has one more byte, in front of which a caller of the second ends. */
struct fabric { unsigned version; unsigned char cluster[16]; unsigned status, clique, state, health; };
struct fabric_v3 { struct fabric old; unsigned char summary; };

EXPORT int nvmlDeviceGetGpuFabricInfoV(struct handle *gpu, struct fabric *fabric)
{
    static const char *const STATES[] = {"not_supported", "not_started", "in_progress", "completed"};
    const char *value;
    int code = look_up(gpu, FABRIC, fabric, &value);
    if (code)
        return code;
    int third = fabric->version == (sizeof(struct fabric_v3) | 3u << 24);
#ifdef FABRIC_V2
    third = 0;
#endif
    if (!third && fabric->version != (sizeof *fabric | 2u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    unsigned state = 0;
    while (state < 4 && strcmp(STATES[state], value))
        state++;
    if (state == 4)
        die("found fabric=%s, expected one of not_supported, not_started, in_progress, completed", value);
    const char *const *said = gpu->gpu->value;
    *fabric = (struct fabric){fabric->version, {0}, (unsigned)number_in(said[FABRIC_STATUS]),
                              (unsigned)number_in(said[FABRIC_CLIQUE]), state, (unsigned)number_in(said[FABRIC_HEALTH])};
    fabric->cluster[15] = (unsigned char)number_in(said[FABRIC_CLUSTER]);
    if (third)
        ((struct fabric_v3 *)fabric)->summary = (unsigned char)number_in(said[FABRIC_SUMMARY]);
    return SUCCESS;
}

struct margin { unsigned version; int margin; };

EXPORT int nvmlDeviceGetMarginTemperature(struct handle *gpu, struct margin *margin)
{
    const char *value;
    int code = look_up(gpu, MARGIN_C, margin, &value);
    if (code)
        return code;
    if (margin->version != (sizeof *margin | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    margin->margin = (int)number_in(value);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetNumaNodeId(struct handle *gpu, unsigned *node) { return ask_number(gpu, NUMA_NODE, node); }

static int ask_confidential(const void *out, unsigned long long *all)
{
    int code = opened ? error_in(system_value[CONFIDENTIAL]) : UNINITIALIZED;
    if (!code && !out)
        return INVALID_ARGUMENT;
    if (!code)
        numbers_in(system_value[CONFIDENTIAL], all, 4);
    return code;
}

struct confidential { unsigned environment, feature, developer_tools; };

EXPORT int nvmlSystemGetConfComputeState(struct confidential *state)
{
    unsigned long long all[4];
    int code = ask_confidential(state, all);
    if (!code)
        *state = (struct confidential){(unsigned)all[1], (unsigned)all[0], (unsigned)all[2]};
    return code;
}

EXPORT int nvmlSystemGetConfComputeGpusReadyState(unsigned *ready)
{
    unsigned long long all[4];
    int code = ask_confidential(ready, all);
    if (!code)
        *ready = (unsigned)all[3];
    return code;
}

union value { double d; unsigned u; int i; unsigned long long ull; };
struct field { unsigned id, scope; long long timestamp, latency; unsigned type; int code; union value value; };

/* Of the some 300 fields those that are asked for here; any other is one that this model does not have. */
EXPORT int nvmlDeviceGetFieldValues(struct handle *gpu, int count, struct field *fields)
{
    static const struct { unsigned id; const char *counter; } NVLINK5[] = {
        {206, "malformed"}, {207, "overrun"}, {211, "integrity"}, {214, "recovery_failed"},
    };
    static const struct { unsigned id, type; int key; } NUMBERS[] = {
        {82, 1, MEMORY_C}, {170, 1, C2C_LINKS}, {194, 5, SLOWDOWN_LIMIT_C},
    };
    const char *value;
    int code = look_up(gpu, UUID, fields, &value);
    for (int n = 0; n < count && !code; n++) {
        struct field *field = &fields[n];
        field->code = NOT_SUPPORTED;
        field->type = 1;
        if (field->id == 230) {
            field->code = error_in(gpu->gpu->value[RECOVERY_ACTION]);
            field->value.u = field->code ? 0 : (unsigned)number_in(gpu->gpu->value[RECOVERY_ACTION]);
        }
        for (size_t k = 0; k < sizeof NUMBERS / sizeof *NUMBERS; k++)
            if (NUMBERS[k].id == field->id) {
                const char *said = gpu->gpu->value[NUMBERS[k].key];
                field->code = error_in(said);
                field->type = NUMBERS[k].type;
                field->value.i = field->code ? 0 : (int)number_in(said);
            }
        for (size_t k = 0; k < sizeof NVLINK5 / sizeof *NVLINK5; k++)
            if (NVLINK5[k].id == field->id && number_in(gpu->gpu->value[NVLINK_VERSION]) >= 5) {
                field->code = SUCCESS;
                field->type = 3;
                field->value.ull = link_errors(gpu->gpu->value[NVLINK_ERRORS], field->scope, NVLINK5[k].counter);
            }
    }
    return code;
}

#endif
