"""What nvcc makes of the CUDA kernels, on a machine without a GPU.

    python benchmarks/cuda/static.py [--arch 80,86,90,100] [--update] [--files matmul.cu,softmax.cu]

compiles every file of csrc/cuda with warnings as errors and looks at each kernel: registers, shared memory, theoretical
occupancy by the toolkit's cuda_occupancy.h, and, where cuobjdump and nvdisasm are found (in the toolkit or the packages
nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm), its instructions. It fails if a kernel spills registers, needs more of
anything than benchmarks/cuda/budget.json allows or is not in that file, if the file has kernels that are no more, or if
instructions are missing that the kernel is written for. `--update` writes the file anew for what was compiled; a test
compares the sources that it was written from with those that are there. Nothing here is a measurement.
"""

import argparse
import concurrent.futures
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CUDA = ROOT / "csrc" / "cuda"
BUDGET = Path(__file__).with_name("budget.json")
ARCHITECTURES = (80, 86, 90, 100)
FLAGS = ["-std=c++20", "-O3", "--fmad=false", "-DFASTNN_TARGET=cuda", f"-I{ROOT / 'csrc'}", f"-I{CUDA}", "-Xptxas=-v",
         "-Werror", "all-warnings", "-Xcompiler=-fvisibility=hidden"]

# Bytes of dynamic shared memory of a launch, by what a kernel's name matches; the most that one may ask for where the
# problem decides.
def gemm_bytes(core, element, bm, bn, stages, a_along_k, b_along_k):
    """As run_gemm in gemm.h computes it."""
    itemsize = 2 if "short" in element else 4
    depth, pad_k, pad_x = (16, 4, 0) if core == "Simt" else (32, 16 // itemsize, 8)
    sizes = (x * (depth + pad_k) if along_k else depth * (x + pad_x) for x, along_k in ((bm, a_along_k), (bn, b_along_k)))
    return stages * sum(sizes) * itemsize


def dynamic_shared(kernel):
    """Of "file: kernel<...>"."""
    name = kernel.split(": ", 1)[1]
    if m := re.match(r"gemm_kernel<(Simt|Mma)Core<(?:(float|unsigned short), )?(\d+), (\d+), \d+, \d+, (\d+)>, \d, (\w+)<(.*)> >$", name):
        core, element, bm, bn, stages, problem, arguments = m.groups()
        along_k = {"MatmulProblem": tuple(x == "true" for x in arguments.split(", ")[1:]), "ForwardProblem": (True, False),
                   "InputProblem": (True, True), "WeightsProblem": (False, False)}[problem]
        return gemm_bytes(core, element or "float", int(bm), int(bn), int(stages), *along_k)
    for pattern, size in ((r"rnn_(forward|backward)_kernel", 96 * 1024), (r"depthwise_tile_kernel", 40 * 1024),
                          (r"sum_groups_kernel", 256 * 33 * 4)):
        if re.match(pattern, name):
            return size
    return 0


# What must be among the instructions of kernels whose names match.
LOADS, STORES = r"^(LDG|LDGSTS)\.E\.(\w+\.)*128", r"^STG\.E\.(\w+\.)*128"
PACKED = (r"^(softmax_(forward|backward)|log_softmax_(forward|backward)|softmax_cross_entropy_backward|cross_entropy_backward|layer_norm_(forward|backward)"
          r"|normalize|gradient|scale|chain|depthwise_(direct|gather)|densify_rows|sum_runs|join_runs)_kernel<4>"
          r"|^(gather_rows|gather_elements|copy)_kernel<Bytes16>")
INSTRUCTIONS = [
    (r"gemm_kernel<MmaCore", r"^HMMA", "tensor cores"),
    (r"gemm_kernel<MmaCore", r"^LDGSTS", "asynchronous copies"),
    (r"^map_kernel", LOADS, "128-bit loads"),
    (r"^map_kernel", STORES, "128-bit stores"),
    (r"^gemm_kernel<.*>, 4, |^depthwise_tile_kernel<\d, \d, 4>|^(dots|columns)_kernel<\d, 4, ", LOADS, "128-bit loads"),
    # Those bound by memory, where rows are whole packs of four.
    (PACKED + r"|^(moments|column_sums|reduce_columns|reduce_rows|pool|pool_backward)_kernel<4\b|^update_kernel|^ceiling_stream", LOADS, "128-bit loads"),
    (PACKED + r"|^(moments|column_sums|reduce_columns|pool_backward)_kernel<4\b|^update_kernel|^ceiling_stream|^repeat_channels", STORES, "128-bit stores"),
]
# Sine, cosine and tangent reduce huge arguments through a few words of local memory; sums of up to eight arrays
# index the pointers among their parameters.
MAY_USE_LOCAL = r"^unary: map_kernel<\d, Unary(Gradient)?<1[678]l> >|^binary: add_n_kernel|^chain: "


def find_tool(name):
    """The path of a tool of the toolkit: on PATH, beside nvcc, or in the packages of PyPI."""
    found = shutil.which(name)
    if found:
        return found
    nvidia = importlib.util.find_spec("nvidia")
    for root in nvidia.submodule_search_locations if nvidia else ():
        for path in Path(root).glob(f"*/bin/{name}"):
            return str(path)
    return None


def text_of(file):
    """The code of a file that nvcc compiles: no comments, no white space at the ends of lines, nothing that is the emulator's."""
    lines, skipped = [], []
    for line in re.sub(r"//.*", "", file.read_text()).splitlines():
        if m := re.match(r"\s*#\s*(if\w*|else|endif)\b(.*)", line):
            if m[1] == "else":
                skipped[-1] = skipped[-1] is not None and not skipped[-1]
            elif m[1] == "endif":
                skipped.pop()
            else:
                skipped.append(m[1] == "ifndef" if m[2].strip() == "__CUDACC__" else None)
        elif line.strip() and not any(skipped):
            lines.append(line.rstrip())
    return "\n".join(lines)


def included(file, seen=None):
    """A file and what it includes of csrc, sorted."""
    seen = {file} if seen is None else seen
    for name in re.findall(r'#include "([^"]+)"', file.read_text()):
        for folder in (file.parent, CUDA, ROOT / "csrc"):
            path = (folder / name).resolve()
            if path.exists() and "emulation" not in path.parts:
                if path not in seen:
                    seen.add(path)
                    included(path, seen)
                break
    return sorted(seen)


def digest_of(source, folder=CUDA):
    """Of the code of a file and of what it includes of a folder; csrc has what changes with kernels of the CPU, too."""
    digest = hashlib.sha256()
    for file in included(source.resolve()):
        if folder in file.parents:
            digest.update(text_of(file).encode())
    return digest.hexdigest()[:16]


def stale_sources(budget):
    """Names of files whose code is not that which the budget was written from."""
    written = budget.get("sources", {})
    return sorted(f.name for f in CUDA.glob("*.cu") if written.get(f.name) != digest_of(f)) + sorted(
        name for name in written if not (CUDA / name).exists())


def compile_file(nvcc, source, architectures):
    """(binary of all architectures, log of ptxas) of a file, compiled only if something has changed. One PTX serves all of
    them, as in CMakeLists.txt: the front end takes four fifths of the time."""
    code = ",".join(f"sm_{a}" for a in architectures)
    command = [nvcc, *FLAGS, f"-gencode=arch=compute_{ARCHITECTURES[0]},code=[{code}]", "-fatbin", str(source)]
    digest = hashlib.sha256(repr((FLAGS[:4], code)).encode() + digest_of(source, CUDA.parent).encode())
    target = ROOT / "build" / "cuda_static" / f"{source.stem}.{digest.hexdigest()[:16]}.fatbin"
    log = target.with_suffix(".log")
    if not log.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        result = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True)
        if result.returncode:
            errors = "\n".join(x for x in (result.stdout + result.stderr).splitlines() if not x.startswith(("ptxas info", "    0 bytes")))
            raise SystemExit(f"{source.name} does not compile for {code}:\n{errors}")
        log.write_text(result.stdout + result.stderr)
    return target, log.read_text()


def demangle(names):
    """Readable names without namespaces and parameters; the same in every build."""
    plain = [re.sub(r"_GLOBAL__N__[0-9a-f]{8}_", "_GLOBAL__N__", n) for n in names]
    tool = find_tool("cu++filt") or shutil.which("c++filt")
    lines = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True).stdout.splitlines() if tool else plain
    result = []
    for line in lines:
        line = re.sub(r"(<unnamed>|\(anonymous namespace\)|_GLOBAL__N__\w+|_NV_ANON_NAMESPACE|fastnn::cuda|fastnn|cuda)::", "", line)
        line = re.sub(r"^void ", "", line)
        depth = 0
        for i, c in enumerate(line):  # the first parenthesis outside of template arguments begins the parameters
            depth += (c == "<") - (c == ">")
            if c == "(" and depth == 0 and i:
                line = line[:i]
                break
        result.append(re.sub(r"\((int|long|bool|unsigned int|unsigned)\)", "", line))
    return result


def kernels_of(log):
    """{(mangled name, architecture): {registers, shared, stack, spills}} of what ptxas says."""
    found, name = {}, None
    for line in log.splitlines():
        if m := re.search(r"Compiling entry function '(\w+)' for 'sm_(\d+)'", line):
            name = m[1], int(m[2])
            found[name] = {"registers": 0, "shared": 0, "stack": 0, "spills": 0}
        elif name and (m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            # Functions that are called have such a line, too.
            found[name]["stack"] = max(found[name]["stack"], int(m[1]))
            found[name]["spills"] += int(m[2]) + int(m[3])
        elif name and (m := re.search(r"Used (\d+) registers", line)):
            found[name]["registers"] = int(m[1])
            shared = re.search(r"(\d+) bytes smem", line)
            found[name]["shared"] = int(shared[1]) if shared else 0
    return found


def threads_of(elf):
    """{mangled name: the most threads of a block} as __launch_bounds__ says it."""
    found, name, wanted = {}, None, False
    for line in elf.splitlines():
        if line.startswith(".nv.info."):
            name = line.split()[0][len(".nv.info."):]
        elif "EIATTR_" in line:
            wanted = "EIATTR_MAX_THREADS" in line
        elif wanted and (m := re.search(r"Value:\s+0x([0-9a-f]+)", line)):
            found[name] = int(m[1], 16)
    return found


def occupancies(nvcc, rows):
    """The parts of an SM's warps that blocks fill, of rows (architecture, threads, registers, static, dynamic shared bytes)."""
    source = Path(__file__).with_name("occupancy.cpp")
    program = ROOT / "build" / "cuda_static" / f"occupancy.{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([nvcc, "-O1", str(source), "-o", str(program)], check=True)
    lines = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    return [float(x) for x in subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout.split()]


OPCODE = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+ |@!?PT )?([A-Z][A-Z0-9_.]*)")


def instructions_of(cuobjdump, nvdisasm, binary):
    """{(mangled name, architecture): the opcodes of a kernel}."""
    environment = dict(os.environ, PATH=f"{Path(nvdisasm).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    found, arch, opcodes = {}, None, set()
    with subprocess.Popen([cuobjdump, "-sass", str(binary)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:  # hundreds of megabytes
            if m := OPCODE.match(line):
                opcodes.add(m[1])
            elif line.startswith("arch = "):
                arch = int(line.split("sm_")[1])
            elif "Function : " in line:
                opcodes = found[line.split()[-1], arch] = set()
    return found


def disassembled(cuobjdump, nvdisasm, binary):
    """(opcodes, threads) of the kernels of a binary, kept beside it."""
    kept = binary.with_suffix(".json")
    if not kept.exists():
        opcodes = [[*key, sorted(each)] for key, each in instructions_of(cuobjdump, nvdisasm, binary).items()]
        elf = subprocess.run([cuobjdump, "-elf", str(binary)], capture_output=True, text=True, errors="replace").stdout
        kept.write_text(json.dumps([opcodes, threads_of(elf)]))
    opcodes, threads = json.loads(kept.read_text())
    return {(name, arch): each for name, arch, each in opcodes}, threads


def examine(nvcc, architectures, files, jobs):
    """{kernel: {arch: facts}} of all files."""
    tools = find_tool("cuobjdump"), find_tool("nvdisasm")

    def look(source):
        binary, log = compile_file(nvcc, source, architectures)
        return kernels_of(log), *(disassembled(*tools, binary) if all(tools) else ({}, {}))

    found = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        looked = list(pool.map(look, files))
    for source, (facts, opcodes, threads) in zip(files, looked):
        names = sorted({mangled for mangled, _ in facts})
        plain = dict(zip(names, demangle(names)))
        for (mangled, arch), one in facts.items():
            kernel = f"{source.stem}: {plain[mangled]}"
            # Without the tool nothing is known of the threads, nor of what depends on them.
            one["threads"], one["dynamic"], one["occupancy"] = threads.get(mangled, 256) if all(tools) else None, dynamic_shared(kernel), None
            one["opcodes"] = opcodes.get((mangled, arch), [])
            found.setdefault(kernel, {})[str(arch)] = one
    each = [(int(arch), one) for by_arch in found.values() for arch, one in by_arch.items() if one["threads"]]
    for (_, one), part in zip(each, occupancies(nvcc, [(a, o["threads"], o["registers"], o["shared"], o["dynamic"]) for a, o in each])):
        one["occupancy"] = part
    return found


def problems_of(found, budget):
    """What must not be, of the kernels that were compiled and those of a budget: lines of text."""
    lines = []
    known = budget.get("kernels", {})
    for kernel, by_arch in found.items():
        name = kernel.split(": ", 1)[1]
        for arch, one in by_arch.items():
            where = f"{kernel}, sm_{arch}"
            if one["spills"]:
                lines.append(f"{where}: {one['spills']} bytes of registers are spilled")
            if one["stack"] and not re.search(MAY_USE_LOCAL, kernel):
                lines.append(f"{where}: {one['stack']} bytes of local memory")
            if one["opcodes"]:
                for pattern, opcode, what in INSTRUCTIONS:
                    loads = any(o.startswith("LDG") for o in one["opcodes"])  # some derivatives are 0 everywhere
                    if re.search(pattern, name) and loads and not any(re.match(opcode, o) for o in one["opcodes"]):
                        lines.append(f"{where}: no {what} ({opcode})")
            if one["occupancy"] == 0:
                lines.append(f"{where}: no block fits on a multiprocessor")
            allowed = known.get(kernel, {}).get(arch)
            if allowed is None:
                if known:
                    lines.append(f"{where}: not in the budget file")
                continue
            registers, shared, least = allowed
            if one["registers"] > registers:
                lines.append(f"{where}: {one['registers']} registers, the budget is {registers}")
            if one["shared"] > shared:
                lines.append(f"{where}: {one['shared']} bytes of shared memory, the budget is {shared}")
            if one["occupancy"] is not None and one["occupancy"] < least:
                lines.append(f"{where}: occupancy {one['occupancy']}, the budget is {least}")
    return lines


def version_of(nvcc):
    """Such as "13.0.88": another version allots registers differently."""
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    return m[1] if (m := re.search(r"V(\d+\.\d+\.\d+)", text)) else "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default=",".join(map(str, ARCHITECTURES)))
    parser.add_argument("--files", help="names of files in csrc/cuda; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--update", action="store_true", help="write the budget file")
    parser.add_argument("--table", action="store_true", help="print every kernel")
    arguments = parser.parse_args()
    nvcc = find_tool("nvcc")
    if not nvcc:
        print("static: nvcc was not found; nothing is compiled")
        return 0
    architectures = [int(a) for a in arguments.arch.split(",")]
    files = [CUDA / name for name in arguments.files.split(",")] if arguments.files else sorted(CUDA.glob("*.cu"))
    found = examine(nvcc, architectures, files, arguments.jobs)
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    known = budget.get("kernels", {})
    if arguments.table:
        for kernel, by_arch in sorted(found.items()):
            for arch, one in by_arch.items():
                print(f"{kernel} sm_{arch}: {one['registers']} registers, {one['shared']} + {one['dynamic']} bytes shared, "
                      f"{one['threads']} threads, occupancy {one['occupancy']}")
    if arguments.update and any(one["threads"] is None for by_arch in found.values() for one in by_arch.values()):
        raise SystemExit("static: the budget needs cuobjdump and nvdisasm: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    problems = problems_of(found, {} if arguments.update else budget)
    stems = {f.stem for f in files}
    if arguments.update:
        known = {k: v for k, v in known.items() if k.split(": ")[0] not in stems and (CUDA / (k.split(": ")[0] + ".cu")).exists()}
        for kernel, by_arch in found.items():
            known[kernel] = {a: [one["registers"], one["shared"], one["occupancy"]] for a, one in by_arch.items()}
        sources = {k: v for k, v in budget.get("sources", {}).items() if (CUDA / k).exists()}
        if tuple(architectures) == ARCHITECTURES:
            sources.update({f.name: digest_of(f) for f in files})
        lines = [f"{json.dumps(k)}: {json.dumps(known[k])}" for k in sorted(known)]
        BUDGET.write_text(f'{{"nvcc": {json.dumps(version_of(nvcc))},\n"sources": {json.dumps(sources, sort_keys=True)},\n"kernels": {{\n'
                          + ",\n".join(lines) + "\n}}\n")
    else:
        problems += [f"{k}: in the budget file, but no more in the sources" for k in sorted(set(known) - set(found)) if k.split(": ")[0] in stems]
    count = sum(len(by_arch) for by_arch in found.values())
    seen = any(one["opcodes"] for by_arch in found.values() for one in by_arch.values())
    print(f"static: {count} kernels of {len(files)} files for sm_{', sm_'.join(map(str, architectures))}; "
          f"instructions {'were' if seen else 'could not be'} looked at")
    for line in problems:
        print("static:", line)
    if problems and not arguments.update:
        changed = sorted({line.split(": ")[0] + ".cu" for line in problems})
        print(f"static: if that is meant: python benchmarks/cuda/static.py --update --files {','.join(changed)}")
        if budget.get("nvcc") != version_of(nvcc):
            print(f"static: the budget was written with nvcc {budget.get('nvcc')}; this is {version_of(nvcc)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
