"""Settings: the manual is true, what is wrong is refused with its name."""

import re
import tomllib
import traceback
from pathlib import Path

import pytest

from models.contract.errors import ConfigError
from models.contract.fusion import FusionMethod
from service.gateway.environment import CONFIG_VARIABLE
from service.gateway.experiments.file import ExperimentsLoader
from service.gateway.logs.settings import LoggingSettings, TracingSettings
from service.gateway.ranking.settings import (
    CoLLMPipeline,
    HatLLMPipeline,
    L2RecPipeline,
    LocalPipeline,
    RotationSettings,
    ULMRecPipeline,
)
from service.gateway.security.keys import KeySettings
from service.gateway.security.settings import AdminSettings, HttpSettings, SecuritySettings
from service.gateway.settings import PoolSettings, Settings, load_settings

MANUAL = Path(__file__).parents[3] / "deploy" / "gateway.toml"
METHOD = """
default_pipeline = "local"
pools = [{{name = "w", urls = ["http://a"]}}]
pipelines.local = {{kind = "local", pool = "w", fusion = {{method = "{}"}}}}
"""
POOL = 'default_pipeline = "{}"\n[[pools]]\nname = "w"\nurls = ["http://a"]\n'
VOTERS = """
default_pipeline = "local"
pools = [{{name = "w", urls = ["http://a"]}}]
pipelines.local = {{kind = "local", pool = "w", fusion = {{voters = {{{}}}}}}}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def test_manual_is_valid_and_names_every_key():
    settings = load_settings(MANUAL)
    assert isinstance(settings.pipelines["local"], LocalPipeline)
    text = MANUAL.read_text()
    for model in (
        Settings,
        PoolSettings,
        LocalPipeline,
        CoLLMPipeline,
        HatLLMPipeline,
        ULMRecPipeline,
        L2RecPipeline,
        RotationSettings,
        SecuritySettings,
        AdminSettings,
        HttpSettings,
        KeySettings,
        LoggingSettings,
        TracingSettings,
    ):
        assert [key for key in model.model_fields if not re.search(rf"^(#\s+)?\[*(.*\.)?{key}\b", text, re.M)] == []


def test_manual_has_pools_and_pipelines_of_all_kinds_to_uncomment():
    commented = re.compile(r"^# (?:\[\[pools\]\]|\[pipelines\.\w+\])\n(?:# .+\n)*", re.M)
    text = commented.sub(lambda block: re.sub(r"^# ", "", block[0], flags=re.M), MANUAL.read_text())
    settings = Settings(**tomllib.loads(text))
    kinds = {name: pipeline.kind for name, pipeline in settings.pipelines.items()}
    assert kinds == {name: name for name in ("local", "collm", "hatllm", "ulmrec", "l2rec", "cf", "popular")}
    assert {pool.name: (pool.model, pool.kind) for pool in settings.pools} == {
        part: (part, "engine") for part in ("local", "collm", "hatllm", "ulmrec", "l2rec")
    }
    everywhere = ExperimentsLoader(MANUAL.parent / "experiments-all.toml", settings.pipelines, "cf").load()
    [experiment] = everywhere.file.experiments()
    assert {variant.pipeline: variant.name for variant in experiment.variants} == kinds
    for name in ("collm", "hatllm", "ulmrec", "l2rec"):
        defaults = type(settings.pipelines[name]).model_fields
        assert settings.pipelines[name].candidates == defaults["candidates"].default


def test_manual_states_the_defaults():
    written = tomllib.loads(MANUAL.read_text())
    changed = {"default_pipeline"}  # of what the manual's pipelines make sensible
    for key, value in written.items():
        if not isinstance(value, dict | list) and key not in changed:
            assert str(Settings.model_fields[key].default) == str(value), key


@pytest.mark.parametrize("table", ["limits", "quality", "cache", "batch"])
def test_manual_states_the_defaults_of_tables(table: str):
    assert tomllib.loads(MANUAL.read_text())[table] == Settings.model_fields[table].default.model_dump()


def test_manual_states_the_defaults_of_pools():
    (written,) = tomllib.loads(MANUAL.read_text())["pools"]
    changed = {"kind"}  # the manual's pool is our engine
    defaults = {key: field.default for key, field in PoolSettings.model_fields.items() if not field.is_required()}
    stated = {key: value for key, value in written.items() if key in defaults.keys() - changed}
    assert stated == {key: defaults[key] for key in stated}


def test_manual_states_the_defaults_of_security():
    written = tomllib.loads(MANUAL.read_text())
    for table, model in (("security", SecuritySettings), ("admin", AdminSettings), ("http", HttpSettings)):
        assert model(**written[table]) == model()


def test_secrets_are_in_no_representation_and_in_no_error(tmp_path: Path):
    settings = load_settings(write(tmp_path, 'redis_url = "rediss://user:hunter2@host:1/0?password=hunter3"'))
    assert "hunter" not in repr(settings) + str(settings)
    for text in ('redis_url = "http://user:hunter2@host"', '[[pools]]\nname = "w"\nurls = ["http://u:hunter2@host"]'):
        with pytest.raises(ConfigError) as caught:
            load_settings(write(tmp_path, text))
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("surprise = 1", "surprise"),
        ("default_deadline_ms = 0", "default_deadline_ms"),
        ("limits.min = 20\nlimits.max = 19", "limits: Value error, min 20 is above max 19"),
        ("limits.batch_share = 0", "limits.batch_share"),
        ("quality.target = 1.1", "quality.target"),
        ("cache.ttl_ms = -1", "cache.ttl_ms"),
        ("batch.parallel = 101", "batch.parallel"),
        ('redis_url = "http://x"', "redis_url"),
        ('default_pipeline = "nope"', "'nope' is not configured"),
        (
            'default_pipeline = "local"\n[pipelines.local]\nkind = "local"\npool = "gone"',
            "pipelines.local.pool: 'gone'",
        ),
        (
            POOL.format("re") + '[pipelines.re]\nkind = "collm"\npool = "w"',
            "pipelines.re.pool: pool w serves the model local, expected collm",
        ),
        (
            POOL.format("l") + 'model = "collm"\n[pipelines.l]\nkind = "local"\npool = "w"',
            "pipelines.l.pool: pool w serves the model collm, expected local",
        ),
        (POOL.format("cf") + 'model = "bert"', "pools.0.model"),
        ('default_pipeline = "h"\n[pipelines.h]\nkind = "hatllm"\npool = "gone"', "pipelines.h.pool: 'gone'"),
        (
            POOL.format("c") + 'model = "collm"\n[pipelines.c]\nkind = "collm"\npool = "w"\ncandidates = 19',
            "pipelines.c.collm.candid",
        ),
        *(
            (
                POOL.format("u") + f'model = "ulmrec"\n[pipelines.u]\nkind = "ulmrec"\npool = "w"\ncandidates = {n}',
                "pipelines.u.ulmrec.candid",
            )
            for n in (1, 27)
        ),
        (
            POOL.format("l") + 'model = "hatllm"\n[pipelines.l]\nkind = "l2rec"\npool = "w"',
            "pipelines.l.pool: pool w serves the model hatllm, expected l2rec",
        ),
        ('[pipelines.cf]\nkind = "magic"', "pipelines.cf"),
        ('[pipelines.cf]\nkind = "cf"\nmax_communities = 3', "pipelines.cf"),
        ('[[pools]]\nname = "w"\nurls = []', "pools.0.urls"),
        ('[[pools]]\nname = "w"\nurls = ["http://a/path"]', "pools.0.urls.0"),
        ('[[pools]]\nname = "w"\nkind = "tgi"\nurls = ["http://a"]', "pools.0.kind"),
        ('[[pools]]\nname = "w"\nurls = ["http://a"]\nslots = 0', "pools.0.slots"),
        ('[[pools]]\nname = "w"\nurls = ["http://a"]\ndrain_ms = -1', "pools.0.drain_ms"),
        ('[[pools]]\nname = "w"\nurls = ["http://a"]\ndrain_ms = 9999', "pools.0.drain_ms"),
        (METHOD.format("median"), "fusion.method: Input should be 'count', 'rrf', 'wrrf_cf', 'wrrf_llm' or 'scores'"),
        (VOTERS.format("sasrec = 1"), "fusion.voters.sasrec"),
        (VOTERS.format("cf = -1"), "fusion.voters.cf: Input should be greater than or equal to 0"),
        ("experiments_poll_ms = 1", "experiments_poll_ms"),
        ("[[experiments]]", "experiments"),  # they have a file of their own
        ("not toml", "gateway.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str):
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_settings(write(tmp_path, text))


@pytest.mark.parametrize("method", list(FusionMethod))
def test_every_method_is_offered_and_in_the_manual(tmp_path: Path, method: FusionMethod):
    settings = load_settings(write(tmp_path, METHOD.format(method)))
    assert settings.pipelines["local"].fusion.method is method
    assert method in MANUAL.read_text()


def test_voters_are_replaced_all_together_or_not_at_all(tmp_path: Path):
    assert load_settings(write(tmp_path, METHOD.format("rrf"))).pipelines["local"].fusion.voters is None
    for text, voters in (("", {}), ("cf = 0.5, global = 2", {"cf": 0.5, "global": 2.0})):
        assert load_settings(write(tmp_path, VOTERS.format(text))).pipelines["local"].fusion.voters == voters


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere"):
        load_settings(tmp_path / "nowhere.toml")


def test_environment_overrides_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path, '[[pools]]\nname = "w"\nurls = ["http://a"]\n[pipelines.cf]\nkind = "cf"\n')
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    monkeypatch.setenv("LOCALREC_REDIS_URL", "redis://other:1/2")
    monkeypatch.setenv("LOCALREC_PIPELINES__CF__FALLBACKS", "[]")
    settings = load_settings()
    assert settings.redis_url == "redis://other:1/2"
    assert settings.pipelines["cf"].kind == "cf"
    assert settings.pipelines["cf"].fallbacks == ()
    assert settings.pools[0].urls == ("http://a",)


def test_without_a_file_the_global_model_serves():
    assert load_settings().pipelines[load_settings().default_pipeline].kind == "cf"


def test_a_wrong_entry_is_named_and_not_the_list_that_it_leaves_empty(tmp_path: Path):
    path = tmp_path / "gateway.toml"
    path.write_text('[[pools]]\nname = "UPPER"\nurls = ["http://a"]\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert "pools.0.name" in str(caught.value)
    assert ";" not in str(caught.value)
