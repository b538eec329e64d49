# Files the compiler carries inside itself, turned into C by cmake/embed_files.cmake at build
# time: std.moe and models/*.moe (frontend), the runtime's archive (backend).
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
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DARCHIVE=$<TARGET_FILE:moert>
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
    DEPENDS moert ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake VERBATIM)
endfunction()
