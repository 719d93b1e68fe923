#!/usr/bin/env bash
# usage: make.sh DCGM_CHECKOUT DOCUMENT…    Write each document again with dcgmi's own writer of that checkout, and print its exit status.
# Needs g++ 12, libjsoncpp-dev.
set -euo pipefail
dcgm=$1; shift
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
made=$(mktemp -d); trap 'rm -rf "$made"' EXIT
version=$(git -C "$dcgm" describe --tags --exact-match 2>/dev/null || echo v4.6.0)
# A function of Diag.cpp, from its first line to the brace in the first column.
cut_out() { awk -v first="$2" 'index($0, first) == 1 { on = 1 } on { print } on && /^}/ { exit }' "$dcgm/$1"; echo; }
{
  cut_out dcgmi/Diag.cpp 'EudTestVersion GetEudTestVersion('
  for name in 'std::string const Diag::HelperDisplayDiagResult' 'dcgmReturn_t Diag::GetFailureResult' 'dcgmReturn_t Diag::RunStartDiag' \
    'void Diag::HelperDisplayFailureMessage' 'bool Diag::HelperJsonAddResult' 'void Diag::HelperJsonAddTest(' 'void Diag::HelperJsonAddCategory' \
    'void Diag::HelperJsonAddEntities' 'void Diag::HelperJsonAddMetadata' 'void Diag::HelperJsonAddTestSummary' 'void Diag::HelperJsonBuildOutput' \
    'dcgmReturn_t Diag::HelperDisplayAsJson'; do
    cut_out dcgmi/Diag.cpp "$name"
  done
  cut_out dcgmlib/src/dcgm_fields.cpp 'extern "C" DCGM_PUBLIC_API const char *DcgmFieldsGetEntityGroupString'
} >"$made/diag_cut.inc"
flags=(-I"$made" -I"$dcgm/dcgmlib" -I"$dcgm/common" -I"$dcgm/nvvs/include" -I/usr/include/jsoncpp)
gcc -w -c "${flags[@]}" "$dcgm/dcgmlib/src/dcgm_errors.c" -o "$made/errors.o"
g++ -w -std=c++23 -DVERSION="\"${version#v}\"" "${flags[@]}" "$here/writer.cpp" "$made/errors.o" -ljsoncpp -o "$made/writer"
for document; do
  code=0; "$made/writer" "$document" >"$made/out" || code=$?
  cp "$made/out" "$document"
  echo "$(basename "$document") $code"
done
