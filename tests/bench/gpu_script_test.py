#!/usr/bin/env python3
"""What of tests/gpu.sh needs no card: its words, that it goes on where it was stopped, its table, and
the folder of headers. Programs and card are stand-ins that write what the real ones would.

    gpu_script_test.py          # from anywhere; CTest runs it as gpu_script
"""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAGES = "build optable training sanitize kernels resnet18 resnet34 mobilenet distill infer".split()

DECANT = """#!/bin/sh
echo "decant $*" >>"$CALLS"
if [ "$1" = gradcheck ]; then
  cat >"$3" <<END
{"passed": true, "rows": [
 {"op": "conv2d", "variant": "a", "checks": [{"check": "cuda", "passed": true, "error": 1e-7, "tolerance": 4e-7},
                                             {"check": "gradient", "passed": true, "error": 1, "tolerance": 1}]},
 {"op": "softmax", "variant": "b", "checks": [{"check": "cuda", "passed": true, "error": 1e-7, "tolerance": 2e-7}]},
 {"op": "copy", "variant": "c", "checks": [{"check": "cuda", "passed": true, "error": 0, "tolerance": 0}]}]}
END
  exit
fi
while [ $# -gt 0 ]; do case $1 in --batch) batch=$2 ;; --json) json=$2 ;; esac; shift; done
echo '{"eager_images_per_second": '$batch'00, "eager_peak_mib": 10, "graph_images_per_second": '$batch'50, "graph_peak_mib": 11}' >"$json"
"""
BENCH = """#!/bin/sh
echo "bench" >>"$CALLS"
echo '{"card": "none", "ceilings": {"copy": 4e12, "launch": 2e-6, "product": {"float32": 5e13}}, "conv": [
 {"layer": "a", "pass": "forward", "precision": "float32", "microseconds": 9, "tflops": 1, "gb_per_s": 2, "of_ceiling": 0.75, "limit": "bytes"},
 {"layer": "b", "pass": "forward", "precision": "float32", "microseconds": 9, "tflops": 1, "gb_per_s": 2, "of_ceiling": 0.25, "limit": "launch"}]}' >"$2"
"""
TEST = """#!/bin/sh
echo "$(basename $0)" >>"$CALLS"
[ "$(basename $0)" != "${BROKEN:-}" ]
"""
PYTORCH = {"modes": [{"precision": "float32", "mode": "eager", "images_per_second": 400.0, "peak_mib": 9},
                     {"precision": "float32", "mode": "reduce-overhead", "images_per_second": 500.0, "peak_mib": 8},
                     {"precision": "tf32", "mode": "eager", "failed": "no"}]}


class GpuScript(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        self.results = self.path / "results"
        for name, text in (("build/bin/decant", DECANT), ("build/bin/gpu_bench", BENCH),
                           ("tools/nvidia-smi", "#!/bin/sh\ncase \"$*\" in *compute_cap*) echo 9.0;; *) echo A card;; esac\n"),
                           ("tools/cmake", "#!/bin/sh\necho cmake \"$@\" >>\"$CALLS\"\n"),
                           *((f"build/bin/test_{room}", TEST) for room in ("cuda", "nn", "data", "apps_cuda"))):
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
        (self.path / "torch.py").write_text("raise ImportError\n")

    def tearDown(self):
        self.folder.cleanup()

    def run_script(self, *words, **settings):
        environment = dict(os.environ, GPU_RESULTS=str(self.results), GPU_BUILD=str(self.path / "build"),
                           GPU_PYTHON=sys.executable, PYTHONPATH=str(self.path), CALLS=str(self.path / "calls"),
                           PATH=f"{self.path / 'tools'}:/usr/bin:/bin", **settings)
        return subprocess.run([ROOT / "tests/gpu.sh", *words], env=environment, capture_output=True, text=True)

    def calls(self):
        file = self.path / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def test_names_its_stages_and_refuses_others(self):
        self.assertEqual(self.run_script("--list").stdout.split(), STAGES)
        refused = self.run_script("kernels", "kernel")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("got kernel", refused.stderr)
        self.assertFalse(self.results.exists())

    def test_goes_on_where_a_stage_failed(self):
        first = self.run_script(BROKEN="test_nn")
        self.assertEqual(first.returncode, 1, first.stderr)
        self.assertIn("failed: training", first.stderr)
        calls = self.calls()
        self.assertIn("-DCMAKE_CUDA_ARCHITECTURES=90a-real", calls[0])
        self.assertEqual(sum(call.startswith("decant bench train") for call in calls), 3 * 5)
        self.assertEqual(sum(call.startswith("decant bench distill") for call in calls), 3)
        self.assertEqual(sum(call.startswith("decant bench infer") for call in calls), 3 * 2)
        self.assertFalse((self.results / "training.done").exists())

        second = self.run_script()
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertEqual(self.calls(), ["test_nn", "test_data", "test_apps_cuda"])
        self.assertIn("kernels: done before", second.stdout)

        self.assertEqual(self.run_script("kernels").returncode, 0)
        self.assertEqual(self.calls(), ["bench"])

    def test_notes_a_row_that_fails_and_measures_the_others(self):
        program = self.path / "build/bin/decant"
        whole = program.read_text()
        program.write_text(whole.replace("#!/bin/sh\n", '#!/bin/sh\ncase "$*" in *"--batch 64"*float32*) exit 2;; esac\n'))
        os.utime(program, (1, 1))
        self.assertEqual(self.run_script("infer").returncode, 1)
        self.assertEqual(len(self.calls()), 5)
        self.assertFalse((self.results / "infer.done").exists())
        program.write_text(whole)
        os.utime(program, (1, 1))  # no newer build
        self.assertEqual(self.run_script().returncode, 0)
        self.assertEqual(sum(call.startswith("decant bench infer") for call in self.calls()), 1)

    def test_judges_what_the_sanitizer_says(self):
        tool = self.path / "tools/compute-sanitizer"
        for code, passed in ((0, True), (9, False), (1, False)):
            tool.write_text(f"#!/bin/sh\nexit {code}\n")
            tool.chmod(0o755)
            self.assertEqual(self.run_script("sanitize").returncode == 0, passed, code)
            self.assertEqual((self.results / "sanitize.done").exists(), passed, code)

    def test_writes_the_table(self):
        self.assertEqual(self.run_script("kernels", "optable", "infer").returncode, 0)
        (self.results / "infer-1-pytorch.json").write_text(json.dumps(PYTORCH))
        shown = self.run_script("table").stdout
        table = json.loads((self.results / "table.json").read_text())
        self.assertEqual(table["card"], "A card")
        self.assertEqual(sorted(table["stages_seconds"]), ["infer", "kernels", "optable"])
        rows = {(row["title"], row["precision"]): row for row in table["steps"]}
        answers = rows["its answers, batch 1", "float32"]
        self.assertEqual((answers["decant_eager"], answers["decant_graph"]), (100, 150))
        self.assertEqual((answers["pytorch_eager"], answers["pytorch_compiled"]), (400, 500))
        self.assertAlmostEqual(answers["ratio"], 150 / 500)
        self.assertNotIn("ratio", rows["its answers, batch 1", "tf32"])
        self.assertNotIn("decant_graph", rows["train Unet-resnet18, 256 x 256, batch 16", "bf16"])
        self.assertIn("not yet measured", shown)
        self.assertLess(shown.index("b                   forward"), shown.index("a                   forward"))
        self.assertEqual(list(table["errors"]), ["cuda"])
        self.assertEqual(table["errors"]["cuda"]["row"], "softmax, b")
        self.assertEqual(table["errors"]["cuda"]["share"], 0.5)

    @unittest.skipUnless("DECANT_PROGRAM" in os.environ, "no program with a device")
    def test_reads_what_gradcheck_writes(self):
        self.results.mkdir()
        subprocess.run([os.environ["DECANT_PROGRAM"], "gradcheck", "matmul", "--json", self.results / "optable.json"],
                       check=True, capture_output=True)
        shown = self.run_script("table").stdout
        errors = json.loads((self.results / "table.json").read_text())["errors"]
        self.assertEqual(sorted(errors), ["cuda", "cuda bf16", "cuda bf16 products", "cuda tf32"])
        for check, worst in errors.items():
            self.assertTrue(worst["row"].startswith("matmul, "), worst)
            self.assertTrue(0 < worst["share"] <= 1, worst)
            self.assertIn(f"{worst['share']:.2f}   {worst['error']:.1e} of {worst['tolerance']:.1e}   {worst['row']}", shown)
            self.assertIn(f"  {check} ", shown)

    def test_says_that_nothing_was_measured(self):
        shown = self.run_script("table").stdout
        self.assertIn("card: not yet measured", shown)
        self.assertIn("images per second: not yet measured", shown)
        self.assertIn("kernels: not yet measured", shown)

    def test_bundles_the_headers_that_are_included(self):
        made = self.path / "bundled"
        done = subprocess.run([ROOT / "third_party/bundle.sh", made], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for header in ("nlohmann/json.hpp", "CLI/CLI.hpp", "doctest/doctest.h", "stb/stb_image.h",
                       "stb/stb_image_write.h"):
            self.assertTrue((made / header).is_file(), header)


if __name__ == "__main__":
    unittest.main()
