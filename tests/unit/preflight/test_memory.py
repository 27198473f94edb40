"""The arithmetic of models and memory, with the numbers of machines that offices have."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.model import GPU, OS, Identity
from provision.models.names import ModelName
from provision.preflight.memory import (
    GIB,
    KNOWN,
    KV_BYTES,
    TYPICAL,
    Room,
    Serving,
    Shape,
    Weights,
    guessed,
    known,
    need,
    shape_of,
    verdict,
)

DEBIAN = OS("debian", "13", "trixie", "Debian GNU/Linux 13", "debian")
HOST = Identity("gpu", DEBIAN, "amd64", "6.12", "systemd", "none", "apt", "cpu", 8, 64 * GIB)
NVIDIA = GPU("0000:01:00.0", "nvidia", "2684", "nvidia", "RTX 4090", 24 * GIB, target="8.9")
GPT_OSS = KNOWN["gpt-oss:20b"]


def with_gpus(*gpus: GPU, memory: int = 64 * GIB) -> Room:
    return Room.of(replace(HOST, memory=memory, gpus=gpus, nvidia_driver="580.95", nvidia_smi="580.95"))


def judged(room: Room, weights: Weights = GPT_OSS, serving: Serving | None = None) -> tuple[str, str]:
    found = verdict("model:x", weights, serving or Serving(), room)
    return found.level, found.text


def test_gpt_oss_on_a_card_of_24_gib_fits_with_the_sum_in_the_message() -> None:
    assert judged(with_gpus(NVIDIA)) == (
        "ok",
        "fits the GPU (25.8 GB): weights 13.8 GB (known size) + context 808.5 MB (32768 tokens) + buffers 1.1 GB "
        "= 15.7 GB",
    )


def test_gpt_oss_on_8_gb_of_memory_is_refused() -> None:
    level, text = judged(Room(8_200_000_000))
    assert level == "refused"
    assert text.startswith("does not fit: 15.0 GB are needed, there are 7.1 GB of memory; take a smaller model")


def test_gpt_oss_on_a_server_of_16_gb_runs_on_its_cpu() -> None:
    level, text = judged(Room(16_600_000_000))
    assert (level, text.partition(":")[0]) == ("ok", "CPU only (16.6 GB of memory)")


def test_a_card_that_is_too_small_takes_a_part() -> None:
    level, text = judged(with_gpus(replace(NVIDIA, memory=8 * GIB)))
    assert (level, text.partition(",")[0]) == ("warning", "split: 57 % of it fit the GPU (8.6 GB)")


def test_two_cards_count_together() -> None:
    level, text = judged(
        with_gpus(replace(NVIDIA, memory=8 * GIB), replace(NVIDIA, slot="0000:02:00.0", memory=8 * GIB))
    )
    assert (level, text.partition(":")[0]) == ("ok", "fits the 2 GPUs (17.2 GB)")


def test_a_card_without_a_driver_is_named_and_not_counted() -> None:
    room = Room.of(replace(HOST, gpus=(replace(NVIDIA, driver="nouveau", memory=0),)))
    level, text = judged(room)
    assert (level, text.partition(":")[0]) == ("warning", "CPU only (68.7 GB of memory); RTX 4090 cannot be used")


def test_a_card_given_to_a_virtual_machine_is_not_counted() -> None:
    assert with_gpus(replace(NVIDIA, driver="vfio-pci")).gpu == 0


def test_unified_memory_is_the_hosts() -> None:
    spark = with_gpus(replace(NVIDIA, memory=0), memory=128 * GIB)
    assert (spark.unified, spark.gpu) == (True, 128 * GIB)
    assert judged(spark, KNOWN["gpt-oss:120b"])[0] == "ok"
    assert judged(replace(spark, host=64 * GIB, gpu=64 * GIB), KNOWN["gpt-oss:120b"])[0] == "refused"


def test_amd_counts_with_its_kernel_interface() -> None:
    card = GPU("0000:03:00.0", "amd", "744c", "amdgpu", "RX 7900 XTX", 24 * GIB, target="gfx1100")
    assert Room.of(replace(HOST, gpus=(card,), amd_kfd=True)).gpu == 24 * GIB
    assert Room.of(replace(HOST, gpus=(card,))).idle == "RX 7900 XTX"


@pytest.mark.parametrize(
    ("model", "speed"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "about 3.8 tokens/s"),
        ("Raspberry Pi 4 Model B Rev 1.5", "about 1.7 tokens/s"),
    ],
)
def test_a_raspberry_pi_is_told_how_slow_it_will_be(model: str, speed: str) -> None:
    room = Room.of(replace(HOST, memory=8 * GIB, model=model, marks=frozenset({"raspberrypi"})))
    level, text = judged(room, Weights(2_400_000_000, "as the registry says"))
    assert (level, speed in text, "CPU only" in text) == ("warning", True, True)


def test_sequences_in_parallel_and_a_small_cache_type() -> None:
    room = Room(64 * GIB)
    one = need(GPT_OSS, Serving(context=16384), room).cache
    assert need(GPT_OSS, Serving(context=16384, parallel=4), room).cache == 4 * one
    assert need(GPT_OSS, Serving(context=16384, cache="q8_0"), room).cache == pytest.approx(one * 34 / 64, rel=0.01)
    assert "(16384 tokens x 4, q8_0)" in judged(room, serving=Serving(16384, 4, "q8_0"))[1]


def test_a_context_is_never_longer_than_the_model_knows() -> None:
    assert need(GPT_OSS, Serving(context=10**6), Room(64 * GIB)).tokens == 131072


def test_the_servers_variables() -> None:
    variables = {"OLLAMA_CONTEXT_LENGTH": "8192", "OLLAMA_NUM_PARALLEL": "2", "OLLAMA_KV_CACHE_TYPE": "q8_0"}
    assert Serving.of(variables) == Serving(8192, 2, "q8_0")
    assert Serving.of(variables, 4096).context == 4096
    assert Serving.of({"OLLAMA_NUM_PARALLEL": "many"}) == Serving()


def test_memory_that_is_kept_free_on_the_gpu_is_not_counted() -> None:
    assert judged(with_gpus(NVIDIA), serving=Serving(overhead=12 * GIB))[0] == "warning"


@pytest.mark.parametrize(
    ("tag", "size"), [("8b", 4.8e9), ("0.5b-instruct", 0.3e9), ("8x7b", 33.6e9), ("270m", 0.162e9), ("latest", None)]
)
def test_a_size_is_guessed_from_a_tag(tag: str, size: float | None) -> None:
    found = guessed(ModelName.parse(f"any:{tag}"))
    assert (found and found.size) == (size and pytest.approx(size))


def test_gpt_oss_is_known_wherever_it_comes_from() -> None:
    assert known(ModelName.parse("models.lan:5000/library/gpt-oss:20b")) is GPT_OSS
    assert known(ModelName.parse("gpt-oss")) is GPT_OSS
    assert known(ModelName.parse("somebody/gpt-oss:20b")) is None


def test_metadata_of_a_model_that_is_there() -> None:
    info = {
        "general.architecture": "llama",
        "llama.block_count": 16,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
        "llama.embedding_length": 2048,
        "llama.context_length": 131072,
    }
    assert shape_of(info) == Shape(16, 8, 64, context=131072)
    assert shape_of({**info, "llama.attention.head_count_kv": [8, 0, 4]}) == Shape(16, 8, 64, context=131072)
    assert shape_of({"general.architecture": "llama"}) is None


@given(
    st.dictionaries(
        st.sampled_from(["general.architecture", "x.block_count", "x.attention.head_count", "x.embedding_length"]),
        st.none() | st.just("many") | st.integers() | st.booleans() | st.lists(st.none() | st.integers()),
    )
)
def test_no_metadata_breaks_it(info: dict[str, object]) -> None:
    shape_of({"general.architecture": "x", **info})


@given(st.integers(0, 10**13), st.integers(1, 10**6), st.integers(1, 64), st.sampled_from(sorted(KV_BYTES)))
def test_more_of_anything_never_makes_it_fit_better(size: int, context: int, parallel: int, cache: str) -> None:
    order = ["ok", "warning", "refused"]
    serving, room = Serving(context, parallel, cache), with_gpus(NVIDIA)
    before = order.index(judged(room, Weights(size, "", TYPICAL), serving)[0])
    for more in (Weights(size * 2, "", TYPICAL), Weights(size, "", replace(TYPICAL, layers=64))):
        assert order.index(judged(room, more, serving)[0]) >= before
    assert order.index(judged(room, Weights(size, "", TYPICAL), replace(serving, parallel=parallel * 2))[0]) >= before
