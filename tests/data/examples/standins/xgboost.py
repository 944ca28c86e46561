"""Boosted stumps, read from a JSON file."""

import json


class Booster:
    def __init__(self):
        self.rules = []

    def load_model(self, path):
        with open(path) as file:
            self.rules = json.load(file)


class XGBClassifier(Booster):
    def predict(self, rows):
        return [self._class_of(row) for row in rows]

    def _class_of(self, row):
        for rule in self.rules:
            if row[rule["feature"]] < rule["below"]:
                return rule["class"]
        return self.rules[-1]["class"] + 1
