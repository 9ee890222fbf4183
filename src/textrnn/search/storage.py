"""A copy of a search in Optuna's storage, for its dashboard: a file in the project, or a database by address.

The copy follows the search and never leads it, so results do not depend on where it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from textrnn.config.search import Search
from textrnn.errors import TextrnnError, first_line
from textrnn.search.proposals import Trial, distributions, outcome

ADDRESS = "OPTUNA_STORAGE"
"""Optuna's own variable for the address of a storage."""

FILE = "optuna.db"
FINGERPRINT = "textrnn.fingerprint"


class Storage:
    """The copy of the search `name`.

    Args:
        fingerprint: of what the search tries and trains on. The project's own file keeps the last search of a name. In
            a database, which others may use, another search is left alone.

    Raises:
        TextrnnError: the storage cannot be reached, or holds another search under the name.
    """

    def __init__(self, project: Path, name: str, fingerprint: str, search: Search) -> None:
        address = os.environ.get(ADDRESS)
        url = address or f"sqlite:///{project / FILE}"
        try:
            self._shown = make_url(url).render_as_string(hide_password=True)
        except ArgumentError:
            raise TextrnnError(
                f"{ADDRESS}: not the address of a database, such as postgresql://user@host/name. Correct or unset it."
            ) from None
        self._search, self._fingerprint = search, fingerprint
        with self._errors():
            storage = RDBStorage(url)
            if name in optuna.get_all_study_names(storage):
                present = optuna.load_study(study_name=name, storage=storage)
                if present.user_attrs.get(FINGERPRINT) != fingerprint and (
                    FINGERPRINT in present.user_attrs or present.trials
                ):
                    if address:
                        raise TextrnnError(
                            f"{self._shown} holds another search under the name {name}. Rename the search, or delete "
                            f"that one: `optuna delete-study --study-name {name} --storage …`."
                        )
                    optuna.delete_study(study_name=name, storage=storage)
            self._study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
            self._study.set_user_attr(FINGERPRINT, fingerprint)
            self._count = len(self._study.get_trials(deepcopy=False))

    def add(self, trials: list[Trial]) -> None:
        """Copies a batch whose trials are decided, unless they are there.

        Raises:
            TextrnnError: the storage cannot be reached any more.
        """
        with self._errors():
            if self._study.user_attrs.get(FINGERPRINT) != self._fingerprint:
                raise TextrnnError(
                    f"{self._shown}: another search has taken the place of {self._study.study_name}. What was trained "
                    "is kept: run one at a time, or rename one."
                )
            for trial in trials:
                if trial.number >= self._count:
                    self._study.add_trial(_frozen(trial, self._search))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, ImportError, RuntimeError, KeyError, optuna.exceptions.StorageInternalError) as error:
            raise TextrnnError(
                f"{self._shown}, Optuna's storage, cannot be used: {first_line(error.__cause__ or error)}. What was "
                f"trained is kept: repair it, or name another in {ADDRESS}, and run this again."
            ) from None


def _frozen(trial: Trial, search: Search) -> optuna.trial.FrozenTrial:
    state, value, by_rung = outcome(trial)
    return optuna.create_trial(
        state=state,
        value=value,
        params=trial.proposed,
        distributions=distributions(search),
        intermediate_values=by_rung,
        user_attrs={"outcome": trial.outcome, "reason": trial.reason},
    )
