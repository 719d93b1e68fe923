#!/usr/bin/env bash
# usage: [VERSION=3.3.9] make.sh DCGM_CHECKOUT DOCUMENT…    Write each document again with dcgmi's own writer of that checkout, and print its exit status.
# Needs g++ 12, libjsoncpp-dev.
set -euo pipefail
dcgm=$1; shift
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
made=$(mktemp -d); trap 'rm -rf "$made"' EXIT
version=$(git -C "$dcgm" describe --tags --exact-match 2>/dev/null || echo "${VERSION:?of DCGM}")
# A function of a file, from its first line to the brace in the first column.
cut_out() { awk -v first="$2" 'index($0, first) == 1 { on = 1 } on { print } on && /^}/ { exit }' "$dcgm/$1"; echo; }
names=('dcgmReturn_t Diag::GetFailureResult' 'bool Diag::HelperJsonAddResult'
  'void Diag::HelperJsonAddCategory' 'void Diag::HelperJsonBuildOutput' 'dcgmReturn_t Diag::HelperDisplayAsJson')
if [[ ${version#v} == 3.* ]]; then
  writer=writer3.cpp standard=c++17
  names+=('std::string Diag::HelperDisplayDiagResult' 'void Diag::HelperJsonAddBasicTests' 'std::string Diag::HelperGetTestName' 'void Diag::HelperJsonAddPlugin' 'void Diag::InitializeDiagResponse'
    'void Diag::PopulateGpuList')
else
  writer=writer.cpp standard=c++23
  names+=('std::string const Diag::HelperDisplayDiagResult' 'dcgmReturn_t Diag::RunStartDiag' 'void Diag::HelperDisplayFailureMessage' 'void Diag::HelperJsonAddTest(' 'void Diag::HelperJsonAddEntities'
    'void Diag::HelperJsonAddMetadata' 'void Diag::HelperJsonAddTestSummary')
fi
{
  if [[ $writer == writer3.cpp ]]; then
    sed -n '/^\/\/ Header Names/,/^char\|^\/\*/p' "$dcgm/dcgmi/Diag.cpp" | grep -v '^char\|^/\*'
    cut_out dcgmi/Diag.cpp 'void AddCpuEudResultIfAny('
  else
    cut_out dcgmi/Diag.cpp 'EudTestVersion GetEudTestVersion('
    cut_out dcgmlib/src/dcgm_fields.cpp 'extern "C" DCGM_PUBLIC_API const char *DcgmFieldsGetEntityGroupString'
  fi
  for name in "${names[@]}"; do cut_out dcgmi/Diag.cpp "$name"; done
} >"$made/diag_cut.inc"
flags=(-I"$made" -I"$dcgm/dcgmlib" -I"$dcgm/common" -I"$dcgm/nvvs/include" -I/usr/include/jsoncpp)
gcc -w -c "${flags[@]}" "$dcgm/dcgmlib/src/dcgm_errors.c" -o "$made/errors.o"
g++ -w "-std=$standard" -DVERSION="\"${version#v}\"" "${flags[@]}" "$here/$writer" "$made/errors.o" -ljsoncpp -o "$made/writer"
for document; do
  code=0; "$made/writer" "$document" >"$made/out" || code=$?
  cp "$made/out" "$document"
  echo "$(basename "$document") $code"
done
