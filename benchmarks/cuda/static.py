"""What nvcc makes of the CUDA kernels, on a machine without a GPU.

    python benchmarks/cuda/static.py [--arch 80,86,90,100] [--update] [--files matmul.cu,softmax.cu]

compiles every file of csrc/cuda with warnings as errors and looks at each kernel: registers, shared memory, theoretical
occupancy, and, where cuobjdump and nvdisasm are found (in the toolkit or the packages nvidia-cuda-cuobjdump and
nvidia-cuda-nvdisasm), its instructions. It fails if a kernel spills registers or needs more of anything than
benchmarks/cuda/budget.json allows, or if instructions are missing that the kernel is written for. `--update` writes
that file anew for the architectures that were compiled. Nothing here is a measurement.
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

# Of an SM, from the CUDA programming guide: warps, blocks, shared memory in KiB (1 KiB of each block's is reserved).
SM = {80: (64, 32, 164), 86: (48, 16, 100), 90: (64, 32, 228), 100: (64, 32, 228)}
REGISTERS, REGISTER_UNIT, SHARED_UNIT = 65536, 256, 128

# What must be among the instructions of kernels whose names match.
INSTRUCTIONS = [
    (r"gemm_kernel<MmaCore", r"^HMMA", "tensor cores"),
    (r"gemm_kernel<MmaCore", r"^LDGSTS", "asynchronous copies"),
    (r"^map_kernel", r"^LDG\.E\.128", "128-bit loads"),
    (r"^map_kernel", r"^STG\.E\.128", "128-bit stores"),
    (r"^gemm_kernel<.*>, 4, ", r"^(LDG\.E\.128|LDGSTS\.E\.(BYPASS\.)?(LTC\w+\.)?128)", "128-bit loads"),  # rows of whole vectors
]
# Sine, cosine and tangent reduce huge arguments through a few words of local memory; sums of up to eight arrays
# index the pointers among their parameters.
MAY_USE_LOCAL = r"^unary: map_kernel<\d, Unary(Gradient)?<1[678]l> >|^binary: add_n_kernel"


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


def compile_file(nvcc, source, arch):
    """(object, log of ptxas) of a file for one architecture, compiled only if something has changed."""
    digest = hashlib.sha256(repr((FLAGS[:4], arch)).encode())
    for file in sorted([source, *CUDA.glob("*.h"), *(ROOT / "csrc").glob("*.h"), ROOT / "csrc" / "kernels.def"]):
        digest.update(file.read_bytes())
    target = ROOT / "build" / "cuda_static" / f"{source.stem}.{arch}.{digest.hexdigest()[:16]}.cubin"
    log = target.with_suffix(".log")
    if not log.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        result = subprocess.run([nvcc, *FLAGS, f"-arch=sm_{arch}", "-cubin", str(source), "-o", str(target)],
                                capture_output=True, text=True)
        if result.returncode:
            errors = "\n".join(x for x in (result.stdout + result.stderr).splitlines() if not x.startswith(("ptxas info", "    0 bytes")))
            raise SystemExit(f"{source.name} does not compile for sm_{arch}:\n{errors}")
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
    """{mangled name: {registers, shared, stack, spills}} of what ptxas says."""
    found, name = {}, None
    for line in log.splitlines():
        if m := re.search(r"Compiling entry function '(\w+)'", line):
            name = m[1]
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
    found = {}
    for section, body in re.findall(r"\.nv\.info\.(\w+)(.*?)(?=\n\.|\Z)", elf, re.S):
        if m := re.search(r"EIATTR_MAX_THREADS\s+Format:\s+\S+\s+Value:\s+0x([0-9a-f]+)", body):
            found[section] = int(m[1], 16)
    return found


def occupancy(arch, threads, registers, shared):
    """The part of an SM's warps that blocks of this size can fill, without dynamic shared memory."""
    warps, blocks, kilobytes = SM[arch]
    block_warps = -(-threads // 32)
    per_warp = -(-max(registers, 1) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = REGISTERS // per_warp // block_warps
    by_shared = kilobytes * 1024 // (-(-(shared + 1024) // SHARED_UNIT) * SHARED_UNIT)
    return min(blocks, warps // block_warps, by_registers, by_shared) * block_warps / warps


def instructions_of(cuobjdump, nvdisasm, cubin):
    """{mangled name: the opcodes of a kernel}."""
    environment = dict(os.environ, PATH=f"{Path(nvdisasm).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    text = subprocess.run([cuobjdump, "-sass", str(cubin)], capture_output=True, text=True, env=environment, check=True).stdout
    found = {}
    for part in text.split("Function : ")[1:]:
        name, body = part.split(None, 1)
        found[name] = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+ |@!?PT )?([A-Z][A-Z0-9_.]*)", body)
    return found


def examine(nvcc, architectures, files, jobs):
    """{kernel: {arch: facts}} of all files."""
    tasks = [(source, arch) for source in files for arch in architectures]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        compiled = list(pool.map(lambda task: compile_file(nvcc, *task), tasks))
    cuobjdump, nvdisasm = find_tool("cuobjdump"), find_tool("nvdisasm")
    found = {}
    for (source, arch), (cubin, log) in zip(tasks, compiled):
        facts = kernels_of(log)
        if not facts:
            continue
        opcodes, threads = {}, {}
        if cuobjdump and nvdisasm:
            opcodes = instructions_of(cuobjdump, nvdisasm, cubin)
            elf = subprocess.run([cuobjdump, "-elf", str(cubin)], capture_output=True, text=True, errors="replace").stdout
            threads = threads_of(elf)
        names = list(facts)
        for mangled, name in zip(names, demangle(names)):
            one = facts[mangled]
            one["threads"] = threads.get(mangled, 256)
            one["occupancy"] = round(occupancy(arch, one["threads"], one["registers"], one["shared"]), 3)
            one["opcodes"] = sorted(set(opcodes.get(mangled, ())))
            found.setdefault(f"{source.stem}: {name}", {})[str(arch)] = one
    return found


def problems_of(found, budget):
    """What must not be: lines of text."""
    lines = []
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
            allowed = budget.get(kernel, {}).get(arch)
            if allowed is None:
                continue
            registers, shared, least = allowed
            if one["registers"] > registers:
                lines.append(f"{where}: {one['registers']} registers, the budget is {registers}")
            if one["shared"] > shared:
                lines.append(f"{where}: {one['shared']} bytes of shared memory, the budget is {shared}")
            if one["occupancy"] < least:
                lines.append(f"{where}: occupancy {one['occupancy']}, the budget is {least}")
    return lines


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
    files = sorted(CUDA.glob("*.cu"))
    if arguments.files:
        files = [CUDA / name for name in arguments.files.split(",")]
    found = examine(nvcc, architectures, files, arguments.jobs)
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    if arguments.table:
        for kernel, by_arch in sorted(found.items()):
            for arch, one in by_arch.items():
                print(f"{kernel} sm_{arch}: {one['registers']} registers, {one['shared']} bytes shared, "
                      f"{one['threads']} threads, occupancy {one['occupancy']:.2f}")
    problems = problems_of(found, {} if arguments.update else budget)
    if arguments.update:
        stems = {f.stem for f in files}
        kept = {} if not arguments.files else {k: v for k, v in budget.items() if k.split(": ")[0] not in stems}
        for kernel, by_arch in found.items():
            kept[kernel] = {**{a: v for a, v in budget.get(kernel, {}).items() if int(a) not in architectures},
                            **{a: [one["registers"], one["shared"], one["occupancy"]] for a, one in by_arch.items()}}
        lines = [f"{json.dumps(k)}: {json.dumps(kept[k])}" for k in sorted(kept)]
        BUDGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    count = sum(len(by_arch) for by_arch in found.values())
    unknown = sum(arch not in budget.get(kernel, {}) for kernel, by_arch in found.items() for arch in by_arch)
    seen = any(one["opcodes"] for by_arch in found.values() for one in by_arch.values())
    print(f"static: {count} kernels of {len(files)} files for sm_{', sm_'.join(map(str, architectures))}; "
          f"{unknown} not in the budget file; instructions {'were' if seen else 'could not be'} looked at")
    for line in problems:
        print("static:", line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
