// dcgmi's own writer of "diag -j", filled from documents: its functions are cut out of dcgmi/Diag.cpp by make.sh (diag_cut.inc) and compiled as they are.
// What dcgmi gets from the host engine, the struct dcgmDiagResponse_v12, is filled here instead. No GPU, host engine or library of DCGM is needed.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "DcgmGroupEntityPairHelpers.h"
#include "NvvsJsonStrings.h"
#include "PluginStrings.h"
#include "dcgm_errors.h"
#include "dcgm_fields.h"
#include "dcgm_structs.h"
#include <json/json.h>

#define log_error(...)
#define log_warning(...)
#define log_debug(...)

namespace DcgmNs
{
struct DcgmBuildInfo
{
    std::string_view GetVersion() const { return VERSION; }
};
} // namespace DcgmNs

struct EudTestVersion
{
    std::optional<std::string> version;
    std::optional<std::string> eudPackageVersion;
};

class Diag
{
public:
    enum displayDiagResultWarn_enum { DDR_NO_DISPLAY_WARN, DDR_DISPLAY_WARN };
    std::string const HelperDisplayDiagResult(dcgmDiagResult_t val, displayDiagResultWarn_enum showWarn = DDR_NO_DISPLAY_WARN) const;
    bool HelperJsonAddResult(dcgmDiagResponse_v12 const &, dcgmDiagTestRun_v2 const &, dcgmDiagEntityResult_v1 const &, Json::Value &, bool = false);
    void HelperJsonAddTest(Json::Value &, unsigned int, Json::Value &);
    void HelperJsonAddCategory(Json::Value &, Json::Value &);
    void HelperJsonAddEntities(Json::Value &, dcgmDiagResponse_v12 const &);
    void HelperJsonAddMetadata(Json::Value &, dcgmDiagResponse_v12 const &);
    void HelperJsonAddTestSummary(Json::Value &, unsigned int const, dcgmDiagTestRun_v2 const &, dcgmDiagResponse_v12 const &);
    void HelperJsonBuildOutput(Json::Value &, dcgmDiagResponse_v12 const &);
    void HelperDisplayFailureMessage(const std::string &, dcgmReturn_t);
    dcgmReturn_t HelperDisplayAsJson(dcgmDiagResponse_v12 const &);
    dcgmReturn_t GetFailureResult(dcgmDiagResponse_v12 &);
    dcgmReturn_t RunStartDiag(dcgmHandle_t);
    dcgmReturn_t RunDiagOnce(dcgmHandle_t);

    dcgmRunDiag_v10 m_drd {};
    bool m_jsonOutput = true;
    unsigned int m_iterations = 1, m_next = 0;
    Json::Value m_jsonTmpValue;
    Json::Value m_documents;
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
    return words.contains(word) ? words.at(word) : DCGM_DIAG_RESULT_NOT_RUN;
}

// By its name: the number is DCGM's own.
static dcgm_field_entity_group_t group_of(std::string const &name)
{
    for (unsigned int group = DCGM_FE_GPU; group < DCGM_FE_COUNT; group++)
        if (name == DcgmFieldsGetEntityGroupString(static_cast<dcgm_field_entity_group_t>(group)))
            return static_cast<dcgm_field_entity_group_t>(group);
    return DCGM_FE_NONE;
}

// Errors and information of one result, for its entity. Category and severity are DCGM's own for the error.
static void say(dcgmDiagResponse_v12 &r, dcgmDiagTestRun_v2 &test, dcgmGroupEntityPair_t entity, Json::Value const &of)
{
    for (auto const &each : of["warnings"])
    {
        auto &error = r.errors[r.numErrors];
        error.entity = entity;
        error.code = each["error_id"].asUInt();
        error.category = dcgmErrorGetCategoryByCode(error.code);
        error.severity = dcgmErrorGetPriorityByCode(error.code);
        put(error.msg, sizeof(error.msg), each["warning"].asString());
        test.errorIndices[test.numErrors++] = r.numErrors++;
    }
    for (auto const &each : of["info"])
    {
        auto &info = r.info[r.numInfo];
        info.entity = entity;
        put(info.msg, sizeof(info.msg), each.asString());
        test.infoIndices[test.numInfo++] = r.numInfo++;
    }
}

static void fill(dcgmDiagResponse_v12 &r, Json::Value const &document)
{
    r.version = dcgmDiagResponse_version12;
    put(r.dcgmVersion, sizeof(r.dcgmVersion), document["metadata"]["version"].asString());
    put(r.driverVersion, sizeof(r.driverVersion), document["metadata"]["Driver Version Detected"].asString());
    for (auto const &group : document["entity_groups"])
        for (auto const &each : group["entities"])
        {
            auto &entity = r.entities[r.numEntities++];
            entity.entity = { group_of(group["entity_group"].asString()), each["entity_id"].asUInt() };
            put(entity.serialNum, sizeof(entity.serialNum), each.get("serial_num", DCGM_STR_BLANK).asString());
            put(entity.skuDeviceId, sizeof(entity.skuDeviceId), each["device_id"].asString());
        }
    for (auto const &category : document["DCGM Diagnostic"]["test_categories"])
    {
        put(r.categories[r.numCategories], sizeof(r.categories[0]), category["category"].asString());
        for (auto const &each : category["tests"])
        {
            auto &test = r.tests[r.numTests++];
            put(test.name, sizeof(test.name), each["name"].asString());
            test.categoryIndex = r.numCategories;
            test.result = result_of(each["test_summary"]["status"].asString());
            for (auto const &found : each["results"])
            {
                auto &result = r.results[r.numResults];
                result.entity = { group_of(found["entity_group"].asString()), found["entity_id"].asUInt() };
                result.result = result_of(found["status"].asString());
                test.resultIndices[test.numResults++] = r.numResults++;
                say(r, test, result.entity, found);
            }
            // What a summary repeats of an entity is not said again; the rest is of the test as a whole.
            if (test.numErrors == 0)
                say(r, test, { DCGM_FE_NONE, 0 }, each["test_summary"]);
            else if (each["test_summary"].isMember("info"))
            {
                Json::Value only;
                only["info"] = each["test_summary"]["info"];
                say(r, test, { DCGM_FE_NONE, 0 }, only);
            }
        }
        r.numCategories++;
    }
}

// In the place of the host engine: the next document is its answer.
dcgmReturn_t Diag::RunDiagOnce(dcgmHandle_t)
{
    Json::Value const document = m_documents[m_next++];
    auto const &body = document["DCGM Diagnostic"];
    if (body.isMember("runtime_error"))
    {
        HelperDisplayFailureMessage(body["runtime_error"].asString(), DCGM_ST_DIAG_ALREADY_RUNNING);
        return DCGM_ST_DIAG_ALREADY_RUNNING;
    }
    auto response = std::make_unique<dcgmDiagResponse_v12>();
    fill(*response, document);
    HelperDisplayAsJson(*response);
    return GetFailureResult(*response);
}

int main(int, char **words)
{
    Json::Value document;
    std::ifstream(words[1]) >> document;
    Diag diag;
    if (document.isMember("iterations"))
    {
        diag.m_documents = document["iterations"];
        diag.m_iterations = document["iterations"].size();
    }
    else
        diag.m_documents.append(document);
    return static_cast<int>(diag.RunStartDiag(0)) & 255;
}
