"""The five stages: one public function each, records in and records out."""
