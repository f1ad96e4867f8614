extension ParameterLayout {
  /// The tensors as matrices of one slab, by index; a vector is one row.
  package var extents: [TensorSlab.Extent] {
    map { entry in
      TensorSlab.Extent(
        offset: entry.offset, rows: entry.shape.count == 1 ? 1 : entry.shape[0], columns: entry.shape.last ?? 1)
    }
  }
}
