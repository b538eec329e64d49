/* SPDX-License-Identifier: Apache-2.0
 * start: LLVM made ready, once: every target, and an end like ours where memory ends. */
#include "emit.h"
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <unistd.h>

/* llvm/Support/ErrorHandling.h; LLVM's C interface lacks them.  Without them C++ ends the
 * process by SIGABRT. */
typedef void no_memory(void *data, const char *reason, bool diagnostics);
void install_bad_alloc(no_memory *, void *data)
	__asm__("_ZN4llvm31install_bad_alloc_error_handlerEPFvPvPKcbES0_");
void install_new_handler(void)
	__asm__("_ZN4llvm33install_out_of_memory_new_handlerEv");

/* Somewhere deep in C++: no destructors, no atexit. */
static void end(void *data, const char *reason, bool diagnostics)
{
	fprintf(stderr, "moec: error: out of memory, in LLVM [%s]\n",
		diag_info[E_no_memory].code);
	cleanup_now();
	_exit(1);
}

/* Tiles are emitted in the order in which they run best.  LLVM's machine scheduler hoists
 * loads across it, until accumulators no longer fit the registers; and loop-reduce costs a
 * quarter of the time to find what the emitter's addresses have already. */
static const char *const options[] = {"moec", "-enable-misched=false", "-disable-lsr"};

static void start(void)
{
	install_bad_alloc(end, NULL);
	install_new_handler();
	LLVMInitializeAllTargetInfos();
	LLVMInitializeAllTargets();
	LLVMInitializeAllTargetMCs();
	LLVMInitializeAllAsmPrinters();
	LLVMParseCommandLineOptions(COUNT(options), options, "");
}

void llvm_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
}
