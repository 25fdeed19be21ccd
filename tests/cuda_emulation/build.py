"""Builds the programs of this folder against csrc/cuda/emulation; each build into a folder of its own, once."""

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CSRC = ROOT / "csrc"
EMULATION = CSRC / "cuda" / "emulation"

# What each build can see that the others cannot.
BUILDS = {
    # Barriers, masks, guards, misaligned addresses; results that depend on the order.
    "plain": ["-O1", "-fsanitize=alignment", "-DFASTNN_EMU_CHECKS_ALIGNMENT"],
    # The same through makecontext, as on machines that are not x86-64.
    "ucontext": ["-O1", "-fsanitize=alignment", "-DFASTNN_EMU_CHECKS_ALIGNMENT", "-DFASTNN_EMU_UCONTEXT"],
    # Every read or write outside of an array, integer overflow, impossible shifts.
    "asan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    # Every race between threads of the grid, each with a fiber that the detector knows.
    "tsan": ["-O1", "-g", "-fsanitize=thread"],
}
ENVIRONMENT = {  # tests ask for more memory than there is
    "ASAN_OPTIONS": "detect_leaks=0:exitcode=66:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=66",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66:report_signal_unsafe=0:allocator_may_return_null=1",
}


def compiler():
    """The C++ compiler to build with."""
    return os.environ.get("CXX", "c++").split()


def link_flags(flags):
    """Those of the flags that the linker needs: the alignment check brings its own handler."""
    return [f for f in flags if f.startswith(("-fsanitize", "-g")) and f != "-fsanitize=alignment"]


def supported(build):
    """Whether the compiler has the libraries of a build."""
    flags = BUILDS[build]
    probe = subprocess.run([*compiler(), "-x", "c++", "-", "-o", os.devnull, *link_flags(flags)], input="int main() {}",
                           capture_output=True, text=True)
    return probe.returncode == 0


def build(source, flags, folder=None):
    """Compiles and links a program of this folder with the emulator.

    Args:
        source: the file; what it includes may be .cu files.
        flags: for the compiler.
        folder: where it goes; build/cuda_emulation of the repository by default.

    Returns:
        The path of the program, which is built only if something has changed.
    """
    source = HERE / source
    digest = hashlib.sha256(repr((flags, compiler(), platform.platform())).encode())
    runtime = CSRC / "cuda" / "runtime.cu"
    for file in sorted({source, runtime, *HERE.glob("*.h"), *HERE.glob("*.cu"), *CSRC.glob("*.h"), *CSRC.glob("*.def"),
                        *(CSRC / "cuda").glob("*.h"), *EMULATION.iterdir()}):
        digest.update(file.read_bytes())
    folder = Path(folder or ROOT / "build" / "cuda_emulation") / digest.hexdigest()[:16]
    program = folder / source.stem
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    common = [*compiler(), "-std=c++20", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-subobject-linkage",
              "-DFASTNN_TARGET=cuda", f"-I{CSRC}", f"-I{CSRC / 'cuda'}", f"-I{HERE}", *flags]
    sources = [source, runtime, *(EMULATION / s for s in ("emulation.cpp", "fiber.cpp", "runtime.cpp"))]
    objects = [folder / f"{s.name}.o" for s in sources]
    jobs = [subprocess.Popen([*common, "-x", "c++", "-c", str(s), "-o", str(o)], stderr=subprocess.PIPE, text=True)
            for s, o in zip(sources, objects) if s == source or not o.exists()]
    errors = [(job.communicate()[1], job.returncode) for job in jobs]
    if any(text or code for text, code in errors):
        for o in objects:
            o.unlink(missing_ok=True)
        raise RuntimeError("".join(text for text, code in errors))
    temporary = folder / f"{source.stem}.{os.getpid()}"
    subprocess.run([*compiler(), *map(str, objects), "-o", str(temporary), *link_flags(flags)], check=True)
    temporary.replace(program)
    return program


if __name__ == "__main__":
    for each in sys.argv[1:] or BUILDS:
        print(each, build("planted.cpp", BUILDS[each]))
