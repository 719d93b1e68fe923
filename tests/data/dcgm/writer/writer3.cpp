// The same of DCGM 3.3: what dcgmi gets from the host engine is the struct dcgmDiagResponse_v10 there.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "NvvsJsonStrings.h"
#include "PluginStrings.h"
#include "dcgm_errors.h"
#include "dcgm_structs.h"
#include <json/json.h>

#define log_error(...)
#define log_debug(...)

class Diag
{
public:
    std::string HelperDisplayDiagResult(dcgmDiagResult_t);
    void HelperJsonAddBasicTests(Json::Value &, int &, dcgmDiagResponse_v10 &);
    std::string HelperGetTestName(unsigned int);
    bool HelperJsonAddResult(dcgmDiagResponsePerGpu_v5 &, Json::Value &, unsigned int, unsigned int, size_t);
    void HelperJsonAddPlugin(Json::Value &, int &, Json::Value &);
    void HelperJsonAddCategory(Json::Value &, int &, Json::Value &, int);
    void HelperJsonBuildOutput(Json::Value &, dcgmDiagResponse_v10 &, const std::vector<unsigned int> &);
    dcgmReturn_t HelperDisplayAsJson(dcgmDiagResponse_v10 &, const std::vector<unsigned int> &);
    dcgmReturn_t GetFailureResult(dcgmDiagResponse_v10 &);
    void InitializeDiagResponse(dcgmDiagResponse_v10 &);
    void PopulateGpuList(const dcgmDiagResponse_v10 &, std::vector<unsigned int> &);

    dcgmRunDiag_v8 m_drd {};
    unsigned int m_iterations = 1;
    Json::Value m_jsonTmpValue;
};

#include "diag_cut.inc"

static void put(char *place, std::size_t size, std::string const &text)
{
    std::strncpy(place, text.c_str(), size - 1);
}

static dcgmDiagResult_t result_of(std::string const &word)
{
    static std::map<std::string, dcgmDiagResult_t> const words
        = { { "Pass", DCGM_DIAG_RESULT_PASS }, { "Skip", DCGM_DIAG_RESULT_SKIP }, { "Warn", DCGM_DIAG_RESULT_WARN }, { "Fail", DCGM_DIAG_RESULT_FAIL } };
    return words.count(word) ? words.at(word) : DCGM_DIAG_RESULT_NOT_RUN;
}

static unsigned int number(Json::Value const &of)
{
    return of.isString() ? std::stoul(of.asString()) : of.asUInt();
}

// Errors and information of one result. Category and severity are DCGM's own for the error.
static void say(dcgmDiagTestResult_v3 &place, Json::Value const &of)
{
    place.status = result_of(of["status"].asString());
    put(place.info, sizeof(place.info), of.get("info", "").asString());
    unsigned int count = 0;
    for (auto const &each : of["warnings"])
    {
        auto &error = place.error[count++];
        error.gpuId = of.isMember("gpu_id") ? static_cast<int>(number(of["gpu_id"])) : -1;
        error.code = each["error_id"].asUInt();
        error.category = dcgmErrorGetCategoryByCode(error.code);
        error.severity = dcgmErrorGetPriorityByCode(error.code);
        put(error.msg, sizeof(error.msg), each.isMember("warning") ? each["warning"].asString() : each["warnings"].asString());
    }
}

int main(int, char **words)
{
    Json::Value document;
    std::ifstream(words[1]) >> document;
    Diag diag;
    auto response = std::make_unique<dcgmDiagResponse_v10>();
    diag.InitializeDiagResponse(*response);
    // As the host engine does: what nobody has tested was not run.
    for (auto &each : response->levelOneResults)
        each.status = DCGM_DIAG_RESULT_NOT_RUN;
    for (auto &gpu : response->perGpuResponses)
        for (auto &each : gpu.results)
            each.status = DCGM_DIAG_RESULT_NOT_RUN;
    put(response->dcgmVersion, sizeof(response->dcgmVersion), document["version"].asString());
    put(response->driverVersion, sizeof(response->driverVersion), document["Driver Version Detected"].asString());
    for (unsigned int i = 0; i < DCGM_MAX_NUM_DEVICES; i++)
        put(response->devSerials[i], sizeof(response->devSerials[i]), document["GPU Device Serials"].get(std::to_string(i), DCGM_STR_BLANK).asString());
    for (auto const &each : document["GPU Device IDs"])
        put(response->devIds[response->gpuCount++], DCGM_DEVICE_ID_LEN, each.asString());
    for (auto const &category : document["DCGM GPU Diagnostic"]["test_categories"])
        for (auto const &test : category["tests"])
        {
            std::string const name = test["name"].asString();
            if (category["category"].asString() == "Deployment")
            {
                for (unsigned int i = 0; i < LEVEL_ONE_MAX_RESULTS && i < std::size(levelOneTests); i++)
                    if (levelOneTests[i] == name)
                    {
                        response->levelOneTestCount = std::max(response->levelOneTestCount, i + 1);
                        say(response->levelOneResults[i], test["results"][0]);
                    }
                continue;
            }
            for (unsigned int i = 0; i < DCGM_PER_GPU_TEST_COUNT_V8; i++)
                if (diag.HelperGetTestName(i) == name && (name != DISPLAY_CTXCREATE || i == DCGM_CONTEXT_CREATE_INDEX))
                    for (auto const &found : test["results"])
                        if (found.isMember("gpu_id"))
                        {
                            auto &gpu = response->perGpuResponses[number(found["gpu_id"])];
                            gpu.gpuId = number(found["gpu_id"]);
                            response->gpuCount = std::max(response->gpuCount, gpu.gpuId + 1);
                            say(gpu.results[i], found);
                        }
        }
    std::vector<unsigned int> gpus;
    diag.PopulateGpuList(*response, gpus);
    diag.HelperDisplayAsJson(*response, gpus);
    return static_cast<int>(diag.GetFailureResult(*response)) & 255;
}
