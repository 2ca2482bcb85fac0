"""A job of a few seconds on a compute node, for `hpcnas doctor`: what does it look like from there?

`ask_node` runs on the head's machine: it listens as a head would and starts this module by srun.
`python -m hpcnas.cluster.slurm.probe` runs on the node: it calls back and says what it finds.
"""

import importlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpcnas.cluster.doctor import Finding, Level, ok
from hpcnas.cluster.slurm.command import ask_slurm, clean_environment
from hpcnas.config import ClusterConfig
from hpcnas.run_folder import RunFolder
from hpcnas.system.network import addresses_for_others, listen

TORCH = "torch"  # asked for, not used: this room trains nothing
CONNECT_S = 10.0
LARGEST_OFFSET_S = 60.0
MAX_REPORT = 1 << 16


def ask_node(
    folder: RunFolder, config: ClusterConfig, data: str, wait_s: float, address: str, precision: str = "auto"
) -> list[Finding]:
    """Start the probe on a node of the partition and judge what it says.

    Args:
        data: folder of the data set; "" if none is needed.
        wait_s: how long the job may wait in the queue and run.
        address: that the head will be given by --address; "" for none.
        precision: of the search's trainings.
    """
    token = secrets.token_hex(16)
    place = _existing(folder.path)
    with _mark(place, token), listen() as server:
        call = _Callback(server, token)
        port = server.getsockname()[1]
        hosts = addresses_for_others(address)
        asked = {"hosts": hosts, "port": port, "token": token, "place": str(place), "data": data}
        asked["precision"] = precision
        answer = _srun(config, json.dumps(asked), wait_s)
        call.close()
    if isinstance(answer, Finding):
        return [answer]
    return _judge(answer, call, place, data, config)


def main() -> int:
    """On the node: read the question from stdin, call back, print the report as one line of JSON."""
    asked = json.loads(sys.stdin.read(MAX_REPORT))
    found: dict[str, object] = {"node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(), "python": sys.executable}
    found["reached"], found["refusals"] = _call_back(asked)
    mark = Path(asked["place"]) / f".hpcnas-doctor-{asked['token'][:8]}"
    found["sees_folder"] = mark.exists()
    found["writes_folder"] = os.access(asked["place"], os.W_OK)
    if asked["data"]:
        found["sees_data"] = os.access(asked["data"], os.R_OK | os.X_OK)
    found["cuda_visible"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found["devices"] = torch_devices()
    found["engine"] = engine(asked["precision"])
    print("hpcnas-probe " + json.dumps(found), flush=True)
    return 0


class _Callback:
    """Waits for the probe's call; notes its clock against this machine's."""

    def __init__(self, server: socket.socket, token: str) -> None:
        self.offset_s: float | None = None
        self.error_s = 0.0
        self._server, self._token = server, token
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._is_closed = False
        self._thread.start()

    def close(self) -> None:
        """Stop waiting; the thread ends within moments."""
        self._is_closed = True
        self._thread.join(2)

    def _serve(self) -> None:
        self._server.settimeout(0.2)
        while not self._is_closed and self.offset_s is None:
            with suppress(OSError, ValueError):
                self._answer(self._server.accept()[0])

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            connection.settimeout(CONNECT_S)
            before = time.time()
            stream.write("what time is it\n")
            stream.flush()
            token, _, clock = stream.readline(256).partition(" ")
            after = time.time()
            if secrets.compare_digest(token, self._token):
                self.offset_s, self.error_s = float(clock) - (before + after) / 2, (after - before) / 2


def _call_back(asked: dict[str, object]) -> tuple[str, list[str]]:
    refusals: list[str] = []
    hosts, port, token = asked["hosts"], asked["port"], asked["token"]
    assert isinstance(hosts, list)
    for host in hosts:
        try:
            with socket.create_connection((host, port), CONNECT_S) as connection, connection.makefile("rw") as stream:  # type: ignore[arg-type]
                stream.readline(256)
                stream.write(f"{token} {time.time()}\n")
                stream.flush()
                return host, refusals
        except OSError as error:
            refusals.append(f"{host}: {error}")
    return "", refusals


def torch_devices() -> list[str] | str:
    """Names of the GPUs that torch sees; a sentence when torch cannot be used at all."""
    try:
        torch = importlib.import_module(TORCH)
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except (ImportError, RuntimeError, OSError) as error:
        return str(error)


def engine(precision: str) -> str:
    """The engine that would train the repeats of a genotype here, and why; "" if torch cannot be used."""
    try:
        from hpcnas.networks.gpu.support import describe_engine

        return describe_engine(precision)
    except (ImportError, RuntimeError, OSError):
        return ""


def _srun(config: ClusterConfig, question: str, wait_s: float) -> dict[str, object] | Finding:
    name = f"hpcnas-doctor-{secrets.token_hex(4)}"
    options = [f"--job-name={name}", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--time=5", "--quiet"]
    for option, value in (("partition", config.partition), ("account", config.account), ("qos", config.qos)):
        options += [f"--{option}={value}"] if value else []
    options += [f"--gpus-per-node={config.gpus_per_worker}"] if config.gpus_per_worker else []
    setup = "\n".join([*config.setup, f"exec {sys.executable!r} -m hpcnas.cluster.slurm.probe"])
    environment = clean_environment()
    command = ["srun", *options, "bash", "-c", setup]
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, err = process.communicate(question, timeout=wait_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            ask_slurm(["scancel", f"--name={name}"])
            process.kill()
            advice = "nodes are busy or down: try later, or with a longer --wait; the rest was checked"
            return Finding(Level.WARNING, f"no compute node answered within {wait_s:.0f} s", advice)
    for line in out.splitlines():
        if line.startswith("hpcnas-probe "):
            answer = json.loads(line.removeprefix("hpcnas-probe "))
            assert isinstance(answer, dict)
            return answer
    said = " ".join((err or out).split())[-300:]
    advice = "a worker would fail the same way: see --setup and whether the node has this Python"
    return Finding(Level.FAILED, f"a tiny job on a compute node failed ({said or f'code {process.returncode}'})", advice)


def _judge(answer: dict[str, object], call: _Callback, place: Path, data: str, config: ClusterConfig) -> list[Finding]:
    node = answer["node"]
    findings = [ok(f"a job ran on {node} with {answer['python']}")]
    if answer["reached"]:
        findings += _judge_way(answer)
    else:
        advice = "a firewall between them: run the head as a job (sbatch jobs/search.sh), or use --store postgresql://..."
        findings.append(Finding(Level.FAILED, f"{node} does not reach this machine ({answer['refusals']})", advice))
    findings.append(_judge_clock(str(node), call))
    if answer["sees_folder"] and answer["writes_folder"]:
        findings.append(ok(f"{node} sees {place} and may write there"))
    else:
        what = "may not write to" if answer["sees_folder"] else "does not see what is written to"
        findings.append(Finding(Level.FAILED, f"{node} {what} {place}", "name a folder on the shared disk with --run"))
    if data:
        sees = answer.get("sees_data")
        text = f"{node} {'reads' if sees else 'cannot read'} the data folder {data}"
        findings.append(ok(text) if sees else Finding(Level.FAILED, text, "name a folder on the shared disk with --data"))
    return [*findings, _judge_devices(answer, config)]


def _judge_way(answer: dict[str, object]) -> list[Finding]:
    node, reached, refusals = answer["node"], answer["reached"], answer["refusals"]
    findings = [ok(f"{node} reaches a head here, as {reached}")]
    if refusals:
        findings.append(Finding(Level.WARNING, f"{node} tried others in vain ({refusals})", f"--address {reached} comes first"))
    return findings


def _judge_clock(node: str, call: _Callback) -> Finding:
    if call.offset_s is None:
        return Finding(Level.WARNING, f"the clock of {node} is not known", "it did not call back")
    if abs(call.offset_s) > LARGEST_OFFSET_S:
        advice = "leases do not depend on clocks, but times in reports will look odd"
        return Finding(Level.WARNING, f"the clock of {node} is {call.offset_s:+.0f} s off", advice)
    return ok(f"the clock of {node} is {call.offset_s:+.2f} s off (measured to {call.error_s:.2f} s)")


def _judge_devices(answer: dict[str, object], config: ClusterConfig) -> Finding:
    node, devices, given = answer["node"], answer["devices"], answer["cuda_visible"]
    if not config.gpus_per_worker:
        return ok("no GPU was asked for")
    if isinstance(devices, list) and len(devices) >= config.gpus_per_worker:
        how = f"; {answer['engine']}" if answer.get("engine") else ""
        return ok(f"torch sees {', '.join(map(str, devices))} on {node}{how}")
    if not isinstance(devices, list):
        return Finding(Level.FAILED, f"torch cannot be used on {node} ({devices})", "load its libraries with --setup")
    advice = "the driver or a CPU build of torch; workers would train on the CPU"
    return Finding(Level.WARNING, f"torch sees no GPU on {node} (CUDA_VISIBLE_DEVICES={given})", advice)


@contextmanager
def _mark(place: Path, token: str) -> Iterator[None]:
    mark = place / f".hpcnas-doctor-{token[:8]}"
    mark.write_bytes(b"")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


if __name__ == "__main__":
    sys.exit(main())
