"""Every setting of a training run: from the command line and from YAML, checked, and resolved for the data and ranks.

`Options` is what the user gave, `Settings` what a run works with; `resolve` makes the one from the other. The command
line, the YAML keys (the same names), `--show-config` and the `config` of a result are all made from the fields of
`Options`.
"""

from mpinn.config.options import FIELDS as FIELDS
from mpinn.config.options import LEARNING_RATE as LEARNING_RATE
from mpinn.config.options import TYPES as TYPES
from mpinn.config.options import WEIGHTS as WEIGHTS
from mpinn.config.options import Options as Options
from mpinn.config.options import check as check
from mpinn.config.reading import given as given
from mpinn.config.reading import parse as parse
from mpinn.config.reading import parser as parser
from mpinn.config.reading import read_yaml as read_yaml
from mpinn.config.reading import show as show
from mpinn.config.resolving import check_network as check_network
from mpinn.config.resolving import overlap_problem as overlap_problem
from mpinn.config.resolving import resolve as resolve
from mpinn.config.settings import Settings as Settings
from mpinn.config.settings import as_settings as as_settings
from mpinn.config.settings import network_of as network_of
from mpinn.config.settings import rule_of as rule_of
from mpinn.config.spelling import option as option
from mpinn.config.spelling import spelled as spelled
from mpinn.config.spelling import words as words
