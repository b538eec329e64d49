/* SPDX-License-Identifier: Apache-2.0
 * ops: the tables op_info and dtype_info, from ops.def and dtypes.def. */
#include "ir.h"

const OpInfo op_info[OP_COUNT] = {
#define OP(name, args, outs, flags, infer, family, meaning) \
	[OP_##name] = {#name, args, outs, flags, FAM_##family, meaning},
#include "ops.def"
#undef OP
};

const DtypeInfo dtype_info[DT_COUNT] = {
#define DTYPE(name, bits, computed, st, meaning) \
	[DT_##name] = {#name, bits, computed, st, meaning},
#include "dtypes.def"
#undef DTYPE
};

int entry_bytes(Dtype t)
{
	return t == DT_bool ? 4 : dtype_info[t].bits / 8;
}
