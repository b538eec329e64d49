# The machines of ir/targets.def: the runtime for each, as far as this machine has compilers
# (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross).  MACHINES: a list of
# triple|libmoert.a|runner, the last empty for the host; MACHINE_FILES: what is built.
set(HOST_TRIPLE ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
set(MACHINES "${HOST_TRIPLE}|$<TARGET_FILE:moert>|")
set(MACHINE_FILES moert)
set(RUNTIME_FLAGS -fvisibility=hidden -ffunction-sections -fdata-sections)

function(cross_machine triple)
  find_program(CROSS_${triple} ${triple}-gcc)
  find_program(CROSS_AR_${triple} ${triple}-ar)
  if(NOT CROSS_${triple} OR NOT CROSS_AR_${triple})
    message(STATUS "no ${triple}-gcc: libraries for ${triple} cannot be linked")
    return()
  endif()
  set(dir ${CMAKE_BINARY_DIR}/${triple})
  file(MAKE_DIRECTORY ${dir})
  get_directory_property(flags COMPILE_OPTIONS)
  separate_arguments(release UNIX_COMMAND "${CMAKE_C_FLAGS_RELEASE}")
  set(compile ${CROSS_${triple}} -std=gnu17 -fPIC ${release} ${flags} -D_GNU_SOURCE)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/*.c)
  set(objects "")
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    set(object ${dir}/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${compile} ${RUNTIME_FLAGS} -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(OUTPUT ${dir}/libmoert.a
    COMMAND ${CMAKE_COMMAND} -E rm -f ${dir}/libmoert.a
    COMMAND ${CROSS_AR_${triple}} crs ${dir}/libmoert.a ${objects}
    DEPENDS ${objects} VERBATIM)
  set(source ${CMAKE_SOURCE_DIR}/foreign/runner/runner.c)
  add_custom_command(OUTPUT ${dir}/runner
    COMMAND ${compile} -MD -MF ${dir}/runner.d ${source} -o ${dir}/runner -s
            -Wl,--no-as-needed -lm -lpthread
    DEPENDS ${source} DEPFILE ${dir}/runner.d VERBATIM)
  set(MACHINES ${MACHINES} "${triple}|${dir}/libmoert.a|${dir}/runner" PARENT_SCOPE)
  set(MACHINE_FILES ${MACHINE_FILES} ${dir}/libmoert.a ${dir}/runner PARENT_SCOPE)
endfunction()

file(STRINGS ${CMAKE_SOURCE_DIR}/ir/targets.def rows REGEX "^TARGET\\(")
string(REGEX MATCHALL "[a-z0-9_]+-linux-gnu" triples "${rows}")
list(REMOVE_DUPLICATES triples)
list(REMOVE_ITEM triples ${HOST_TRIPLE})
foreach(triple ${triples})
  cross_machine(${triple})
endforeach()
