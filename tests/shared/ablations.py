"""The switches of the model that leave out a part or replace it, as the schema states them."""

from minlm.pipeline.settings import section

ABLATIONS = [name for name, stated in section("model").items() if stated["description"].startswith("Ablation")]
