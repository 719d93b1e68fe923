"""One file per question that is put to a run; each answers it for every subject."""
