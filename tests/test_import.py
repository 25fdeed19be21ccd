"""What `import fastnn` costs and leaves behind."""
import json
import subprocess
import sys

import pytest

PROBE = """
import json, os, sys, threading, time
start = time.process_time()  # what others use does not count
import numpy as np
numpy_seconds = time.process_time() - start
env, threads, before = dict(os.environ), threading.active_count(), set(sys.modules)
def os_threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0
tasks = os_threads()
tiny = np.float32(1e-40)
start = time.process_time()
import fastnn
seconds = time.process_time() - start
print(json.dumps({
    "seconds": seconds, "share": seconds / numpy_seconds, "threads": threading.active_count() - threads, "tasks": os_threads() - tasks,
    "environ": dict(os.environ) == env, "subnormal": bool(tiny * np.float32(1) == tiny and tiny > 0),
    "modules": sorted({m.split(".")[0] for m in set(sys.modules) - before}),
}))
"""


@pytest.fixture(scope="module")
def probe():
    runs = [json.loads(subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout)
            for _ in range(3)]
    return {**runs[0], **{k: min(run[k] for run in runs) for k in ("seconds", "share")}}


def test_import_is_fast(probe):
    # 0.15 s is the goal on a quiet machine; on a busy one the caches are cold, and NumPy takes longer, too.
    assert probe["seconds"] < 0.45 or probe["share"] < 2, probe


def test_nothing_optional_is_imported(probe):
    optional = {"h5py", "safetensors", "rich", "matplotlib", "ml_dtypes", "pandas", "torch", "cupy", "scipy"}
    assert not optional & set(probe["modules"])


def test_no_thread_is_started(probe):
    assert probe["threads"] == 0 and probe["tasks"] == 0


def test_environment_and_float_mode_are_unchanged(probe):
    assert probe["environ"] and probe["subnormal"]


@pytest.mark.parametrize("code", [
    "import fastnn as keras; keras.layers.Input; keras.models.Sequential; keras.Sequential",
    "from fastnn import layers, models; layers.Layer; models.Model",
    "from fastnn.models import Sequential; from fastnn.layers import Input",
    "import fastnn as tf; tf.keras.layers.Input; tf.keras.Sequential; tf.__version__; tf.keras.__version__",
    "from fastnn.keras import layers; from fastnn.keras.models import Model; import fastnn.keras.layers as L; "
    "assert L is layers",
    "import fastnn.utils as u; u.to_categorical; u.register_keras_serializable",
    "import fastnn.compat; fastnn.compat.install(); import keras; from keras import layers; from keras.models import Sequential; "
    "import keras.applications.inception_v3; import tensorflow as tf; from tensorflow.keras.layers import Dense; import fastnn; "
    "assert keras is tf is fastnn and Dense is layers.Dense is tf.keras.layers.Dense; tf.GradientTape; tf.keras.__version__",
    "import fastnn.compat as c; c.install(); import keras.layers; c.uninstall(); import sys; "
    "assert not [m for m in sys.modules if m.split('.')[0] in ('keras', 'tensorflow')]",
    "import sys, types, fastnn.compat\nsys.modules['keras'] = types.ModuleType('keras')\n"
    "try: fastnn.compat.install()\nexcept RuntimeError as e: assert 'keras' in str(e)\nelse: raise SystemExit(1)",
    "import fastnn; assert set(fastnn.__dir__()) >= {'layers', 'Model', 'ops'}",
])
def test_entry_points(code):
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_program_of_keras_runs_as_it_is(tmp_path):
    (tmp_path / "helper.py").write_text("from tensorflow.keras import layers\nunits = 3\n")
    (tmp_path / "train.py").write_text("""
import sys
import numpy as np
import tensorflow as tf
from keras.models import Sequential
from helper import layers, units

model = Sequential([tf.keras.Input((2,)), layers.Dense(units)])
with tf.GradientTape() as tape:
    y = model(np.ones((1, 2), "float32"))
if __name__ == "__main__":
    print(model.count_params(), sys.argv[1:], len(tape.gradient(y, model.trainable_variables)))
""")
    run = subprocess.run([sys.executable, "-m", "fastnn.compat", str(tmp_path / "train.py"), "--a"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "9 ['--a'] 2"
    assert "train.py" in subprocess.run([sys.executable, "-m", "fastnn.compat"], capture_output=True, text=True).stderr


def test_unknown_names_are_attribute_errors():
    import fastnn

    with pytest.raises(AttributeError, match="no attribute 'leyers'"):
        fastnn.leyers
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastnn.utils.nothing
