/* A libcuda.so.1 without a GPU: the GPUs of the description that nvml.c reads, of which those start that are ok.
 *
 * "cuda=802" in the line of a GPU: no context can be made on it, CUDA says that number. A line with another state than ok is a
 * GPU that CUDA does not count. CUDA_VISIBLE_DEVICES may hold indices and (beginnings of) UUIDs; the first word that names
 * nothing ends the list. Calls before cuInit, and devices that there are not, are refused as NVIDIA's library does:
 * https://docs.nvidia.com/cuda/cuda-driver-api/.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GPUS 64
#define MAX_LINE 4096
#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101 };
static const struct { int code; const char *name; } NAMES[] = {
    {SUCCESS, "CUDA_SUCCESS"}, {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"}, {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"}, {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE"}, {802, "CUDA_ERROR_SYSTEM_NOT_READY"}, {999, "CUDA_ERROR_UNKNOWN"},
};
static struct { char uuid[128]; int code; } listed[MAX_GPUS];
static int order[MAX_GPUS], count, initialized;

static const char *value_of(const char *line, const char *key, char *value, size_t size)
{
    char word[64];
    snprintf(word, sizeof word, " %s=", key);
    const char *at = strstr(line, word);
    value[0] = 0;
    if (at)
        snprintf(value, size, "%.*s", (int)strcspn(at + strlen(word), ";\n"), at + strlen(word));
    return value;
}

static int named(const char *word, int all)
{
    char *end;
    long index = strtol(word, &end, 10);
    if (*word && !*end)
        return index >= 0 && index < all ? (int)index : -1;
    for (int n = 0; n < all; n++)
        if (!strncmp(word, "GPU-", 4) && !strncmp(listed[n].uuid, word, strlen(word)))
            return n;
    return -1;
}

EXPORT int cuInit(unsigned flags)
{
    char path[MAX_LINE], line[MAX_LINE], value[256];
    const char *given = getenv("HPCACCEPT_FAKE_NVML"), *node = getenv("SLURMD_NODENAME");
    const char *place = given ? strstr(given, "{node}") : NULL;
    if (flags)
        return INVALID_VALUE;
    if (place && node)
        snprintf(path, sizeof path, "%.*s%s%s", (int)(place - given), given, node, place + strlen("{node}"));
    else
        snprintf(path, sizeof path, "%s", given ? given : "");
    FILE *file = fopen(path, "r");
    int all = 0;
    while (file && all < MAX_GPUS && fgets(line, sizeof line, file)) {
        if (strncmp(line, "gpu ", 4) || strcmp(value_of(line, "state", value, sizeof value), "ok"))
            continue;
        value_of(line, "uuid", listed[all].uuid, sizeof listed[all].uuid);
        listed[all++].code = atoi(value_of(line, "cuda", value, sizeof value));
    }
    if (file)
        fclose(file);
    const char *wanted = getenv("CUDA_VISIBLE_DEVICES");
    count = 0;
    if (wanted) {
        char words[MAX_LINE], *rest = words, *word;
        snprintf(words, sizeof words, "%s", wanted);
        while ((word = strsep(&rest, ",")) && (order[count] = named(word, all)) >= 0)
            count++;
    } else {
        for (; count < all; count++)
            order[count] = count;
    }
    if (!count)
        return NO_DEVICE;
    initialized = 1;
    return SUCCESS;
}

EXPORT int cuDeviceGetCount(int *found)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (!found)
        return INVALID_VALUE;
    *found = count;
    return SUCCESS;
}

EXPORT int cuDeviceGet(int *device, int number)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (!device)
        return INVALID_VALUE;
    if (number < 0 || number >= count)
        return INVALID_DEVICE;
    *device = number;
    return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (!context)
        return INVALID_VALUE;
    if (device < 0 || device >= count)
        return INVALID_DEVICE;
    *context = &listed[order[device]];
    return listed[order[device]].code;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device)
{
    return !initialized ? NOT_INITIALIZED : device < 0 || device >= count ? INVALID_DEVICE : SUCCESS;
}

EXPORT int cuGetErrorName(int code, const char **name)
{
    if (!name)
        return INVALID_VALUE;
    *name = NULL;
    for (size_t n = 0; n < sizeof NAMES / sizeof *NAMES; n++)
        if (NAMES[n].code == code)
            *name = NAMES[n].name;
    return *name ? SUCCESS : INVALID_VALUE;
}
