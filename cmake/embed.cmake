# Files the compiler carries inside itself, turned into C by cmake/embed_files.cmake at build
# time: std.moe and models/*.moe (frontend), each machine's runtime (backend).
function(embed_texts out)
  file(GLOB models CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/models/*.moe)
  list(SORT models)
  set(std ${CMAKE_SOURCE_DIR}/frontend/std.moe)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSTD=${std} "-DMODELS=${models}"
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS ${std} ${models} ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake VERBATIM)
endfunction()

function(embed_runtime out)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} "-DMACHINES=${MACHINES}"
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS ${MACHINE_FILES} ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake VERBATIM)
endfunction()
