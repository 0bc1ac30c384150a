"""A built data set as a repository of the Hugging Face Hub.

folder.py       the tree to upload: shards, id lists, documents, manifest
withheld.py     sources that may not be re-hosted: rows without pixels, and how to restore them
complete.py     a published data set made whole from the user's own archives
card.py         README.md and LICENSES.md
croissant.py    croissant.json
evaluation.py   eval.yaml
upload.py       the calls to the Hub
"""
