# SPDX-License-Identifier: Apache-2.0
# Texts that are refused: every .moe of tests/errors through the command line, and IR text,
# damaged one place at a time, each with its exact message.
import glob
import os

from bad import refusals, refused
from cli import ROOT, main, tests

GOOD = """module "tiny" {
  layer {width=4, experts=2, picks=1, group=0, losses=0}
  experts E0 = 0..2
  param router: f32[2, 4]
  param up: f32[E0, 4, 4]
  fn @layer(%x: f32[T, 4]) -> (y: f32[T, 4]) {
    %router = param {name="router"} : f32[2, 4]
    %logits = linear %x, %router : f32[T, 2]
    %pick = topk %logits {k=1} : index<2>[T, 1]
    %0 = stop %pick {given=pick} : index<2>[T, 1]
    %1 = group %0 {first=0, count=2} : rows[R0]
    %2 = dispatch %x, %1 : f32[R0, 4]
    %up = param {name="up"} : f32[E0, 4, 4]
    %3 = linear %2, %up : f32[R0, 4]
    %4 = collect %3, %1 : f32[T, 1, 4]
    %5 = sum %4 {over=0} : f32[T, 4]
    return %5
  }
}
"""
FROM = {                                # a name: what is replaced, by what
    "empty_module": (GOOD, ""),
    "binary": (GOOD, "\x7fELF\x02\x01\x01\0\0"),
    "nul": ("param router", "param rou\0ter"),
    "not_ir": (GOOD, "layer tiny {\n}\n"),
    "other_first_word": ("module", "modul"),
    "module_no_name": ('"tiny" {', "{"),
    "module_name_empty": ('"tiny"', '""'),
    "module_name_path": ('"tiny"', '"../tiny"'),
    "module_name_escape": ('"tiny"', '"\\x1b[2J"'),
    "module_name_script": ('"tiny"', '"tiny; local: *"'),
    "module_name_long": ('"tiny"', f'"{"t" * 256}"'),
    "target_twice": ("  layer {", '  target "x86-64-v3"\n  target "x86-64-v3"\n  layer {'),
    "experts_16385": ("experts=2", "experts=16385"),
    "module_open": ("  }\n}\n", "  }\n"),
    "behind_module": ("  }\n}\n", "  }\n}\nx"),
    "two_modules": (GOOD, GOOD + GOOD),
    "string_open": ('name="router"', 'name="router'),
    "target_number": ("  layer {", "  target 86\n  layer {"),
    "target_of_tensors": ("  layer {", '  target "x86-64-v3"\n  layer {'),
    "unknown_part": ("  experts", "  exprets"),
    "layer_twice": ("  experts E0", "  layer {width=4}\n  experts E0"),
    "layer_unknown_key": ("losses=0", "loses=0"),
    "layer_negative": ("width=4", "width=-4"),
    "layer_huge": ("width=4", "width=99999999999999999999"),
    "layer_text": ("width=4", 'width="4"'),
    "picks_huge": ("picks=1", "picks=4294967297"),
    "losses_many": ("losses=0", "losses=2"),
    "range_number": ("E0 = 0..2", "E1 = 0..2"),
    "range_empty": ("0..2", "0..0"),
    "range_back": ("0..2", "2..0"),
    "range_huge": ("0..2", "0..9223372036854775807"),
    "range_over_experts": ("experts=2", "experts=1"),
    "range_negative": ("0..2", "-1..2"),
    "param_twice": ("param up: f32[E0, 4, 4]", "param router: f32[2, 4]"),
    "param_of_tokens": ("param router: f32[2", "param router: f32[T, 2"),
    "param_type": ("param router: f32", "param router: f33"),
    "param_zero": ("param router: f32[2, 4]", "param router: f32[0, 4]"),
    "param_negative": ("param router: f32[2, 4]", "param router: f32[-2, 4]"),
    "param_wraps": ("param router: f32[2, 4]",
                    "param router: f32[4611686018427387904, 4611686018427387904]"),
    "param_2_48": ("param router: f32[2, 4]", "param router: f32[16777216, 16777217]"),
    "param_rank_9": ("param router: f32[2, 4]", "param router: f32[1, 1, 1, 1, 1, 1, 1, 1, 1]"),
    "param_real": ("param router: f32[2, 4]", "param router: f32[2.5, 4]"),
    "param_range": ("param up: f32[E0", "param up: f32[E7"),
    "param_load": ("param router: f32[2, 4]", "param router: f32[2, 4] load @nowhere"),
    "level_unknown": ("f32[R0, 4]", "f32[Q0, 4]"),
    "fn_no_at": ("fn @layer", "fn layer"),
    "fn_other_name": ("@layer", "@lawyer"),
    "fn_none": (GOOD[GOOD.index("  fn"):], "}\n"),
    "fn_twice": ("  fn @layer", "  fn @layer() -> () {\n    return\n  }\n  fn @layer"),
    "fn_argument_twice": ("(%x: f32[T, 4])", "(%x: f32[T, 4], %x: f32[T, 4])"),
    "fn_argument_untyped": ("(%x: f32[T, 4])", "(%x)"),
    "fn_unclosed": ("(y: f32[T, 4]) {", "(y: f32[T, 4] {"),
    "result_type": ("(y: f32[T, 4])", "(y: f32[T, 5])"),
    "result_count": ("return %5", "return %5, %5"),
    "no_return": ("    return %5\n", ""),
    "after_return": ("    return %5\n", "    return %5\n    %6 = neg %5 : f32[T, 4]\n"),
    "yield_in_function": ("return %5", "yield %5"),
    "op_unknown": ("linear %x", "liner %x"),
    "op_escape": ("linear %x", "\x1b[31mlinear %x"),
    "op_long": ("linear %x", "l" * 5000 + " %x"),
    "value_unknown": ("linear %x", "linear %y"),
    "value_later": ("linear %x, %router", "linear %x, %up"),
    "value_itself": ("linear %x, %router", "linear %logits, %router"),
    "value_twice": ("%pick =", "%logits ="),
    "value_no_name": ("%pick =", "% ="),
    "operands_few": ("linear %x, %router", "linear %x"),
    "operands_many": ("linear %x, %router", "linear %x, %router, %x"),
    "operands_comma": ("linear %x, %router", "linear %x %router"),
    "results_two": ("%logits = linear", "%logits, %more = linear"),
    "type_wrong": (": f32[T, 2]\n    %pick", ": f32[T, 3]\n    %pick"),
    "type_level": (": f32[T, 2]\n    %pick", ": f32[2]\n    %pick"),
    "type_missing": (": f32[T, 2]\n    %pick", "\n    %pick"),
    "type_index": ("index<2>[T, 1]", "index<3>[T, 1]"),
    "type_index_negative": ("index<2>[T, 1]", "index<-1>[T, 1]"),
    "type_rows": ("rows[R0]", "rows[R9]"),
    "inner_axes": ("param router: f32[2, 4]", "param router: f32[2, 5]"),
    "attribute_missing": (" {k=1}", ""),
    "attribute_negative": ("{k=1}", "{k=-1}"),
    "attribute_large": ("{k=1}", "{k=3}"),
    "attribute_huge": ("{k=1}", "{k=9223372036854775808}"),
    "attribute_text": ("{k=1}", '{k="1"}'),
    "attribute_twice": ("{k=1}", "{k=1, k=1}"),

    "attribute_open": ("{k=1}", "{k=1"),
    "attribute_empty": ("{k=1}", "{k=}"),
    "param_unknown": ('{name="router"}', '{name="ruoter"}'),
    "group_first": ("{first=0, count=2}", "{first=1, count=2}"),
    "group_count": ("{first=0, count=2}", "{first=0, count=1}"),
    "sum_axis": ("{over=0}", "{over=2}"),
    "sum_axis_text": ("{over=0}", "{over=tokns}"),
    "draw_no_site": ("%pick = topk %logits {k=1} : index<2>[T, 1]",
                     "%u = uniform : f32[T, 1]\n    %pick = topk %logits {k=1} : "
                     "index<2>[T, 1]"),
    "deep_brackets": ("{k=1}", "{k=" + "[" * 5000 + "]" * 5000 + "}"),
    "deep_regions": ("    return %5\n", "    %6 = kernel {kind=map, over=T} : f32[T, 4] {\n"
                     * 300),
    "kernel_without_target": ("    return %5\n",
                    "    %6 = kernel {kind=map, over=T} : f32[T, 4] {\n"
                    "      %7 = neg %5 : f32[T, 4]\n      yield %7\n    }\n    return %6\n"),
    "calls_itself": ("    return %5\n",
                     '    %6 = call %5 {fn="layer"} : f32[T, 4]\n    return %6\n'),
    "calls_nothing": ("    return %5\n",
                      '    %6 = call %5 {fn="gone"} : f32[T, 4]\n    return %6\n'),
}


KERNEL = """module "tiny" {
  target "x86-64-v3"
  layer {width=4, experts=1, picks=0, group=0, losses=0}
  experts E0 = 0..1
  param a: f32[8, 4]
  panel a: f32 streams=[a] n=8 k=4 cols=8 kpack=1
  fn @layer(%x: f32[T, 4]) -> (y: f32[T, 8]) {
    %0 = kernel {kind=contract, over=T, name="a", rows=6, vectors=1, cols=8, kblock=0,
                 dot="fma", panel="a"} : f32[T, 8] {
      %a = unpack {panel="a", stream=0} : f32[8, 4]
      %1 = linear %x, %a : f32[T, 8]
      yield %1
    }
    %2 = kernel {kind=map, over=T, name="b"} : f32[T, 8] {
      %3 = neg %0 : f32[T, 8]
      yield %3
    }
    return %2
  }
}
"""
KERNEL_FROM = {
    "kernel_target": ("x86-64-v3", "vax"),
    "kernel_target_escape": ("x86-64-v3", "\x1b[2J"),
    "kernel_kind": ("kind=contract", "kind=contrast"),
    "kernel_group": ("kind=contract", "kind=group"),
    "kernel_over": ("over=T", "over=Q"),
    "kernel_over_range": ("over=T", "over=R7"),
    "kernel_yield_type": ("yield %1", "yield %a"),
    "kernel_yield_count": ("yield %1", "yield %1, %1"),
    "kernel_no_yield": ("      yield %1\n", ""),
    "kernel_no_region": ("      %3 = neg %0 : f32[T, 8]\n      yield %3\n", ""),
    "kernel_inside": ("      yield %3\n", "      %4 = kernel {kind=map, over=T} : f32[T, 8] {\n"
                      "        yield %3\n      }\n      yield %4\n"),
    "kernel_argument": ("{\n      %a", "(%q: f32[T, 4]) {\n      %a"),
    "kernel_value_of_another": ("return %2", "return %1"),
    "panel_unknown": ('unpack {panel="a"', 'unpack {panel="b"'),
    "panel_twice": ("  panel a", "  panel a: f32 streams=[a] n=8 k=4 cols=8 kpack=1\n  panel a"),
    "panel_stream": ("stream=0", "stream=1"),
    "panel_streams": ("streams=[a]", "streams=[b]"),
    "panel_no_streams": ("streams=[a]", "streams=[]"),
    "panel_n": ("n=8", "n=9"),
    "panel_k_zero": ("k=4", "k=0"),
    "panel_cols_negative": ("cols=8 kpack", "cols=-8 kpack"),
    "panel_cols_huge": ("cols=8 kpack", "cols=9223372036854775807 kpack"),
    "panel_kpack_zero": ("kpack=1", "kpack=0"),
    "panel_type": ("panel a: f32", "panel a: rows"),
    "panel_range": ("panel a: f32", "panel a: f32 E5"),
}


# What the verifier takes and no kernel fits: refused when it is compiled.
COMPILED = {
    "tile_rows_0": ("rows=6", "rows=0"),
    "tile_rows_negative": ("rows=6", "rows=-1"),
    "tile_rows_17": ("rows=6", "rows=17"),
    "tile_rows_huge": ("rows=6", "rows=9223372036854775807"),
    "tile_cols_0": ("cols=8, kblock", "cols=0, kblock"),
    "tile_cols_7": ("cols=8, kblock", "cols=7, kblock"),
    "tile_cols_16": ("cols=8, kblock", "cols=16, kblock"),
    "tile_cols_huge": ("cols=8, kblock", "cols=281474976710656, kblock"),
    "tile_kblock": ("kblock=0", "kblock=-1"),
    "panel_other_kpack": ("kpack=1", "kpack=2"),
    "panel_other_cols": ("cols=8 kpack", "cols=16 kpack"),
    "panel_not_named": (', panel="a"}', "}"),
    "no_contraction": ("kind=map", "kind=contract"),
    "loss_kernel_read": ('name="b"}', 'name="b", loss=1}'),
    "contract_as_map": ("kind=contract", "kind=map"),
    "contract_as_cross": ("kind=contract", "kind=cross"),
}


def moe_test(path):
    folder, file = os.path.split(path)
    kind = os.path.basename(folder)

    def run():
        os.chdir(folder)                # messages name the file alone
        with open(file[:-4] + ".expect") as f:
            refused(("compile", file), f.read(), os.path.getsize(file))
    run.__name__ = f"{kind}_{file[:-4]}"
    tests.append(run)


def mir_case(name, good, old, new, *args):
    assert old in good, name
    text = good.replace(old, new, 1)

    def prepare():
        with open("bad.mir", "w") as f:
            f.write(text)
        return (*(args or ("opt", "--passes=")), "bad.mir", "-o", "out"), len(text)
    return name, "bad.mir:", prepare


for moe in sorted(glob.glob(os.path.join(ROOT, "tests/errors/s*/*.moe"))):
    if not os.path.basename(moe).startswith("model_"):      # two layers: --layer picks one
        moe_test(moe)
assert len(tests) >= 100, len(tests)
refusals("mir", [mir_case(name, GOOD, *change) for name, change in FROM.items()] +
         [mir_case(name, KERNEL, *change) for name, change in KERNEL_FROM.items()] +
         [mir_case(name, KERNEL, *change, "compile") for name, change in COMPILED.items()], 80)
main()
