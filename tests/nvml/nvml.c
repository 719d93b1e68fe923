/* A libnvidia-ml.so.1 without a GPU: it answers what a text file says.
 *
 * HPCACCEPT_FAKE_NVML names the file. Lines are "system key=value; key=value" (once, first) and "gpu key=value; …" (one
 * for each GPU); tests/nvml/build.py writes them. A value "!gpu_is_lost" makes the question for that key fail with that
 * error. It is strict where a forgiving library would hide a fault of the caller: a missing or unknown key or a number
 * that is none ends the process; calls before nvmlInit, foreign handles and short buffers fail as they do with NVIDIA's.
 *
 * Entry points and error numbers are those of https://docs.nvidia.com/deploy/nvml-api/.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GPUS 64
#define MAX_MIG 7
#define MAX_LINE 4096
#define EXPORT __attribute__((visibility("default")))

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15
};

static const struct { const char *name; int code; } ERRORS[] = {
    {"uninitialized", UNINITIALIZED}, {"invalid_argument", INVALID_ARGUMENT}, {"not_supported", 3}, {"no_permission", 4},
    {"not_found", NOT_FOUND}, {"insufficient_size", INSUFFICIENT_SIZE}, {"driver_not_loaded", 9}, {"timeout", 10},
    {"irq_issue", 11}, {"function_not_found", 13}, {"corrupted_inforom", 14}, {"gpu_is_lost", GPU_IS_LOST},
    {"reset_required", 16}, {"lib_rm_version_mismatch", 18}, {"memory", 20}, {"no_data", 21},
    {"argument_version_mismatch", 25}, {"deprecated", 26}, {"unknown", 999},
};

/* "state": ok, lost (cannot be opened), lost_later (opened, then silent), or an error on opening. */
enum { STATE, NAME, UUID, SERIAL, PCI_BUS_ID, VBIOS, MEMORY_BYTES, POWER_LIMIT_MW, ECC_MODE, MIG_MODE, MIG_UUIDS,
       PERSISTENCE, PCIE_GEN_MAX, PCIE_WIDTH_MAX, GPU_KEYS };
static const char *const GPU_KEY[GPU_KEYS] = {
    "state", "name", "uuid", "serial", "pci_bus_id", "vbios", "memory_bytes", "power_limit_mw", "ecc_mode", "mig_mode",
    "mig_uuids", "persistence", "pcie_gen_max", "pcie_width_max",
};
enum { INIT, COUNT, DRIVER, CUDA_DRIVER, SYSTEM_KEYS };
static const char *const SYSTEM_KEY[SYSTEM_KEYS] = {"init", "count", "driver", "cuda_driver"};

struct handle { struct gpu *gpu; int mig; }; /* mig is -1 for the GPU itself */
struct gpu { char text[MAX_LINE]; char *value[GPU_KEYS]; struct handle self, mig[MAX_MIG]; };
struct pci { char old_bus_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char bus_id[32]; };
struct memory { unsigned long long total, free, used; };

static struct gpu gpus[MAX_GPUS];
static char system_text[MAX_LINE];
static char *system_value[SYSTEM_KEYS];
static unsigned gpu_count;
static int opened;

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

static void read_pairs(char *text, const char *const *keys, char **values, int count)
{
    char *rest = NULL;
    for (char *pair = strtok_r(text, ";", &rest); pair; pair = strtok_r(NULL, ";", &rest)) {
        char *equals = strchr(pair, '=');
        if (!equals)
            die("found '%s', expected key=value", pair);
        *equals = 0;
        char *key = trim(pair);
        int n = 0;
        while (n < count && strcmp(keys[n], key))
            n++;
        if (n == count)
            die("unknown key '%s'", key);
        if (values[n])
            die("key '%s' stands twice", key);
        values[n] = trim(equals + 1);
    }
    for (int n = 0; n < count; n++)
        if (!values[n])
            die("key '%s' is missing", keys[n]);
}

static void read_file(void)
{
    const char *path = getenv("HPCACCEPT_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[MAX_LINE];
    if (!file)
        die("HPCACCEPT_FAKE_NVML=%s cannot be read", path ? path : "(not set)");
    gpu_count = 0;
    memset(system_value, 0, sizeof system_value);
    memset(gpus, 0, sizeof gpus);
    while (fgets(line, sizeof line, file)) {
        if (!strncmp(line, "system ", 7)) {
            strcpy(system_text, line + 7);
            read_pairs(system_text, SYSTEM_KEY, system_value, SYSTEM_KEYS);
        } else if (!strncmp(line, "gpu ", 4)) {
            if (gpu_count == MAX_GPUS)
                die("more than %d GPUs", MAX_GPUS);
            struct gpu *gpu = &gpus[gpu_count++];
            strcpy(gpu->text, line + 4);
            read_pairs(gpu->text, GPU_KEY, gpu->value, GPU_KEYS);
            gpu->self = (struct handle){gpu, -1};
            for (int n = 0; n < MAX_MIG; n++)
                gpu->mig[n] = (struct handle){gpu, n};
        } else {
            die("found the line '%s', expected 'system …' or 'gpu …'", trim(line));
        }
    }
    fclose(file);
    if (!system_value[0])
        die("%s has no line 'system …'", path);
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
    unsigned long long number = strtoull(value, &end, 10);
    if (!*value || *end)
        die("found '%s', expected a number", value);
    return number;
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
    if (!strcmp(gpus[n].value[STATE], "lost_later"))
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
    read_file();
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
    if (!code)
        *memory = (struct memory){number_in(value), number_in(value), 0};
    return code;
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
