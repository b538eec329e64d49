# -DSTD=.. -DMODELS=.. : const char std_moe[], family_texts[];  -DARCHIVE=.. : runtime_blob[]
function(bytes file var)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
         "\\1\n" hex "${hex}")
  set(${var} "${hex}" PARENT_SCOPE)
endfunction()

if(DEFINED ARCHIVE)
  bytes(${ARCHIVE} data)
  file(WRITE ${OUT} "#include <stddef.h>\n#include \"backend.h\"\n"
    "const unsigned char runtime_blob[] = {\n${data}\n};\n"
    "const size_t runtime_blob_size = sizeof runtime_blob;\n")
else()
  bytes(${STD} data)
  set(text "#include \"frontend.h\"\nconst char std_moe[] = {\n${data}0};\n")
  set(rows "")
  set(n 0)
  foreach(model ${MODELS})
    bytes(${model} data)
    get_filename_component(name ${model} NAME)
    string(APPEND text "static const char model_${n}[] = {\n${data}0};\n")
    string(APPEND rows "\t{\"${name}\", model_${n}},\n")
    math(EXPR n "${n} + 1")
  endforeach()
  if(n EQUAL 0)
    set(rows "\t{0, 0}\n")
  endif()
  file(WRITE ${OUT} "${text}const struct FamilyText family_texts[] = {\n${rows}};\n"
    "const int family_count = ${n};\n")
endif()
