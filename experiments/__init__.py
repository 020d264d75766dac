"""The experiments: one YAML file each, laid over ``defaults.yaml`` (see `handgen.experiment`)."""
